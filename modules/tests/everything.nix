# An appliance that uses every group of options.
{ lib, ... }:
{
  imports = [ ./appliance.nix ];

  boot.initrd.luks.devices.root = { };
  boot.loader.grub.enable = false;
  boot.loader.systemd-boot.enable = true;
  fileSystems."/".device = "/dev/mapper/root";
  networking.nftables.enable = true;
  services.restic.backups.records = {
    repository = "/srv/backup";
    extraOptions = [ "sftp.command='ssh backup@host -s sftp'" ];
  };
  services.borgbackup.jobs.images.user = "borg";
  system.build.toplevel = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-clinic-042";

  services.compliance-agent = {
    mode = lib.mkForce "reseller";
    reseller = "northwind";
    activation.trialBoots = true;
    activation.source = "store-path-or-flake";
    activation.soakSec = 300;
    activation.probes = [ "frontdesk-works.service" ];
    backups.records = {
      tool = "restic";
      filters = [
        "--tag"
        "of clinic"
      ];
      checkRepository = true;
      restoreTestMaxAgeDays = 90;
    };
    backups.images.tool = "borg";
    baseline.services.units = [ { unit = "postgresql.service"; } ];
    egress.resolvers = [
      "192.0.2.53"
      "2001:db8::53"
    ];
    egress.timeServers = [ "192.0.2.123" ];
    heal.firewall = "never";
    mcp.pollJitterPercent = 25;
    metricsFile = "/var/lib/prometheus-node-exporter/compliance.prom";
    heal.limits.backups = {
      minIntervalSec = 600;
      failuresPerDay = 1;
    };
    reboots = "never";
    settings.executor.log.level = "debug";
  };
}
