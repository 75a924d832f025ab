# A control plane with everything that must be said, and nothing else.
{
  services.compliance-mcp = {
    enable = true;
    tenant = "acme";
    logOrigin = "mcp.example/acme";
    feedKeyFile = "/run/secrets/feed.key";
    checkpointKeyFile = "/run/secrets/checkpoint.key";
    root.keys = [ "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" ];
    tls = {
      certificateFile = "/etc/compliance/mcp.pem";
      keyFile = "/run/secrets/mcp.key";
      clientCaFile = "/etc/compliance/ca.pem";
    };
  };
}
