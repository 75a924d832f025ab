# What both sites have in common, as a module: in a hurry, where patience shows nothing.
{ lib, ... }:
{
  services.compliance-agent = {
    enable = true;
    mode = lib.mkDefault "direct";
    tenant = "acme";
    mcp.url = "https://mcp:8443";
    mcp.pollIntervalMs = 2000;
    tls.caFile = "/var/lib/compliance/ca.pem";
    trustFile = "/var/lib/compliance/trust.dsse.json";
    roundIntervalMs = 1000;
    # When it opens, boot says.
    maintenanceWindows = [
      {
        start = "00:00";
        lengthMin = 60;
        zone = "UTC";
      }
    ];
    heal.minIntervalSec = 5;
    heal.settleSec = 2;
    egress.refreshSec = 5;
    egress.resolvers = [ "127.0.0.53" ];
  };
}
