# An appliance with everything that must be said, and nothing else.
{
  services.compliance-agent = {
    enable = true;
    mode = "direct";
    tenant = "acme";
    site = "clinic-042";
    mcp.url = "https://mcp.example:8443";
    tls.caFile = "/etc/compliance/ca.pem";
    trustFile = "/etc/compliance/trust.dsse.json";
    maintenanceWindows = [
      {
        days = [ "sun" ];
        start = "02:00";
        lengthMin = 120;
        zone = "Europe/Paris";
      }
    ];
  };
}
