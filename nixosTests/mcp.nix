# The control plane of all scenarios, as a module. Its keys are made by each scenario anew, so the root key here is
# nobody's: the scenario puts its own in place.
{
  services.compliance-mcp = {
    enable = true;
    tenant = "acme";
    logOrigin = "mcp/acme";
    feedKeyFile = "/var/lib/plane/keys/feed.key";
    checkpointKeyFile = "/var/lib/plane/keys/checkpoint.key";
    root.keys = [ "0000000000000000000000000000000000000000000000000000000000000000" ];
    tls = {
      certificateFile = "/var/lib/plane/tls/server.pem";
      keyFile = "/var/lib/plane/tls/server.key";
      clientCaFile = "/var/lib/plane/tls/ca.pem";
    };
  };
}
