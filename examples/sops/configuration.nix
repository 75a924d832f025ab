# Keys that sops-nix puts below /run/secrets when the system is activated; agenix does the same below /run/agenix.
# With sops-nix imported, write config.sops.secrets."compliance/tls.key".path instead of the path.
{
  networking.hostName = "clinic-043";
  system.stateVersion = "26.05";
  boot.loader.systemd-boot.enable = true;
  fileSystems."/" = {
    device = "/dev/disk/by-label/root";
    fsType = "ext4";
  };

  services.compliance-agent = {
    enable = true;
    mode = "direct";
    tenant = "acme";
    site = "clinic-043";
    mcp.url = "https://mcp.example:8443";
    tls.caFile = "/etc/compliance/ca.pem";
    tls.certificateFile = "/run/secrets/compliance/tls.pem";
    tls.keyFile = "/run/secrets/compliance/tls.key";
    # Made by `compliance-executor enrol` in /var/lib/compliance, and moved from there.
    evidence.keyFile = "/run/secrets/compliance/evidence.key";
    trustFile = "/etc/compliance/trust.dsse.json";
    maintenanceWindows = [
      {
        start = "02:00";
        lengthMin = 60;
        zone = "UTC";
      }
    ];
    log.level = "debug";
  };

  # A control plane with its keys in the same way; it is another machine, as a rule.
  services.compliance-mcp = {
    enable = true;
    openFirewall = true;
    tenant = "acme";
    logOrigin = "mcp.example/acme";
    feedKeyFile = "/run/secrets/compliance/feed.key";
    checkpointKeyFile = "/run/secrets/compliance/checkpoint.key";
    root.keys = [ "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" ];
    tls = {
      certificateFile = "/etc/compliance/mcp.pem";
      keyFile = "/run/secrets/compliance/mcp-tls.key";
      clientCaFile = "/etc/compliance/ca.pem";
    };
  };
}
