# An appliance that is sold directly: the machine itself, and what makes it one.
{
  networking.hostName = "clinic-042";
  system.stateVersion = "26.05";

  boot.loader.systemd-boot.enable = true;
  boot.loader.efi.canTouchEfiVariables = true;
  boot.initrd.luks.devices.root.device = "/dev/disk/by-partlabel/root";
  fileSystems."/" = {
    device = "/dev/mapper/root";
    fsType = "ext4";
  };
  fileSystems."/boot" = {
    device = "/dev/disk/by-partlabel/boot";
    fsType = "vfat";
  };

  networking.nftables.enable = true;
  services.resolved.enable = true;
  services.postgresql.enable = true;
  services.restic.backups.records = {
    repository = "/srv/backup/records";
    paths = [ "/var/lib/postgresql" ];
    passwordFile = "/var/lib/secrets/restic";
    initialize = true;
  };

  services.compliance-agent = {
    enable = true;
    mode = "direct";
    tenant = "acme";
    site = "clinic-042";
    mcp.url = "https://mcp.example:8443";
    # Neither is a secret: ca.pem and trust.dsse.json may also lie beside this file, as ./ca.pem.
    tls.caFile = "/etc/compliance/ca.pem";
    trustFile = "/etc/compliance/trust.dsse.json";
    maintenanceWindows = [
      {
        days = [
          "sat"
          "sun"
        ];
        start = "02:00";
        lengthMin = 120;
        zone = "Europe/Paris";
      }
    ];
    backups.records = {
      tool = "restic";
      restoreTestMaxAgeDays = 90;
    };
    baseline.services.units = [
      {
        unit = "postgresql.service";
        disruptive = true;
      }
    ];
  };
}
