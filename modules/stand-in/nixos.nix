# The options of NixOS that our modules and examples set or read, without checks of their own.
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
  jobs =
    options:
    mkOption {
      type = types.attrsOf (
        types.submodule {
          options = options // {
            user = fixed "root";
          };
        }
      );
      default = { };
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
    boot.initrd = {
      luks.devices = anything;
      systemd = {
        enable = fixed true;
        targets = anything;
      };
    };
    boot.kernelParams = fixed [ ];
    boot.loader = {
      efi = {
        canTouchEfiVariables = fixed false;
        efiSysMountPoint = fixed "/boot";
      };
      grub = {
        device = fixed "";
        enable = fixed true;
      };
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
      hostName = fixed "nixos";
      nameservers = fixed [ ];
      nftables.enable = fixed false;
    };
    nix = {
      enable = fixed true;
      package = fixed pkgs.nix;
    };
    services = {
      borgbackup.jobs = jobs {
        postHook = mkOption {
          type = types.lines;
          default = "";
        };
        readWritePaths = fixed [ ];
      };
      postgresql.enable = fixed false;
      journald.storage = fixed "persistent";
      resolved.enable = fixed false;
      restic.backups = jobs {
        extraOptions = fixed [ ];
        initialize = fixed false;
        package = fixed pkgs.restic;
        passwordFile = fixed null;
        paths = fixed [ ];
        repository = fixed null;
      };
    };
    swapDevices = fixed [ ];
    system = {
      build = {
        complianceBaseline = mkOption { type = types.anything; };
        toplevel = mkOption { type = types.anything; };
      };
      stateVersion = fixed "26.05";
      switch.enable = fixed true;
    };
    systemd = {
      enableEmergencyMode = fixed true;
      package = fixed pkgs.systemd;
      paths = anything;
      services = anything;
      settings = anything;
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
