# The appliance of all scenarios, as a module: in a hurry where patience proves nothing.
{
  services.compliance-agent = {
    enable = true;
    mode = "direct";
    tenant = "acme";
    site = "clinic-042";
    mcp.url = "https://mcp:8443";
    mcp.pollIntervalMs = 1000;
    tls.caFile = "/var/lib/compliance/ca.pem";
    trustFile = "/var/lib/compliance/trust.dsse.json";
    roundIntervalMs = 500;
    # The scenarios begin at six in the morning.
    maintenanceWindows = [
      {
        start = "00:00";
        lengthMin = 720;
        zone = "UTC";
      }
    ];
    heal.minIntervalSec = 5;
    heal.settleSec = 2;
    activation = {
      trialBoots = true;
      source = "store-path-or-flake";
      switchSec = 30;
      settleSec = 2;
      soakSec = 5;
      deadManSec = 100;
      looks = 2;
    };
    egress.refreshSec = 2;
    egress.resolvers = [ "192.168.1.2" ];
  };
}
