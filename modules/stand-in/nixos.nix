# The options of NixOS that our modules set or read. Those that only we read have no checks of their own.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  anything = mkOption {
    type = types.anything;
    default = { };
  };
  fixed =
    default:
    mkOption {
      type = types.anything;
      inherit default;
    };
in
{
  options = {
    assertions = mkOption {
      type = types.listOf types.anything;
      default = [ ];
    };
    warnings = mkOption {
      type = types.listOf types.str;
      default = [ ];
    };
    boot.initrd.luks.devices = anything;
    boot.loader = {
      efi.efiSysMountPoint = fixed "/boot";
      grub.enable = fixed true;
      systemd-boot.enable = fixed false;
    };
    environment = {
      etc = anything;
      systemPackages = fixed [ ];
    };
    fileSystems = anything;
    networking = {
      firewall = {
        allowedTCPPorts = fixed [ ];
        enable = fixed true;
      };
      nameservers = fixed [ ];
      nftables = {
        enable = fixed false;
      };
    };
    nix = {
      enable = fixed true;
      package = fixed pkgs.nix;
    };
    services = {
      borgbackup.jobs = anything;
      journald.storage = fixed "persistent";
      resolved.enable = fixed false;
      restic.backups = anything;
    };
    swapDevices = fixed [ ];
    system = {
      build = {
        complianceBaseline = mkOption { type = types.anything; };
        toplevel = mkOption { type = types.anything; };
      };
      switch.enable = fixed true;
    };
    systemd = {
      package = fixed pkgs.systemd;
      paths = anything;
      services = anything;
      sockets = anything;
      timers = anything;
      tmpfiles.settings = anything;
    };
    users = {
      groups = anything;
      users = anything;
    };
  };
}
