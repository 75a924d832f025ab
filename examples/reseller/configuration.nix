# An appliance that a reseller brings to a clinic, with a control plane that has an address and no name. `common` is
# what all of the reseller's sites share, and would lie in a file of its own.
let
  common = {
    services.compliance-agent = {
      enable = true;
      mode = "reseller";
      reseller = "northwind";
      tenant = "acme";
      mcp.url = "https://192.0.2.10:8443";
      tls.caFile = "/etc/compliance/ca.pem";
      trustFile = "/etc/compliance/trust.dsse.json";
      # Patching waits for an order, a firewall for a person.
      heal.firewall = "order";
      maintenanceWindows = [
        {
          start = "01:30";
          lengthMin = 90;
          zone = "Europe/Zurich";
        }
      ];
    };
  };
in
{
  imports = [ common ];

  networking.hostName = "praxis-007";
  system.stateVersion = "26.05";
  boot.loader.grub.device = "/dev/sda";
  fileSystems."/" = {
    device = "/dev/sda1";
    fsType = "ext4";
  };

  services.compliance-agent = {
    site = "praxis-007";
    baseline.backups.not_applicable = "this machine holds no records";
    baseline.encryption.not_applicable = "the disk encrypts itself, and holds no records";
  };
}
