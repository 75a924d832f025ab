# What only NixOS's test machine of the appliance has: a boot loader, what there is to look at, and the systems that
# are activated. nixosTests/debian/systems makes the same of Debian.
{
  config,
  lib,
  pkgs,
  extendModules,
  ...
}:
let
  # The box with one difference. It has no systems of its own, or it would never end.
  system =
    module:
    (extendModules {
      modules = [
        module
        { scenarios.variant = true; }
      ];
    }).config.system.build.toplevel;
  etc = name: "scenarios/systems/${name}";

  restarted = name: {
    systemd.services.compliance-agent.environment.GENERATION = name;
    systemd.services.compliance-executor.environment.GENERATION = name;
  };
  slow = name: {
    imports = [ (restarted name) ];
    system.activationScripts.slow = "sleep 4";
  };
  offline = {
    systemd.services.offline = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${lib.getExe' pkgs.iproute2 "ip"} address flush dev eth1";
        ExecStop = "${lib.getExe' pkgs.iproute2 "ip"} address add 192.168.1.1/24 dev eth1";
      };
    };
  };

  broken = {
    systemd.services.broken = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        ExecStartPre = lib.getExe' pkgs.coreutils "false";
        ExecStart = "${lib.getExe' pkgs.coreutils "sleep"} infinity";
      };
    };
  };

  systems = {
    next = restarted "next";
    slow1 = slow "slow1";
    slow2 = slow "slow2";
    slow3 = slow "slow3";
    slow4 = slow "slow4";
    refuses.system.activationScripts.refuses = "exit 1";
    inherit broken offline;
    # Another command line of the kernel has to be booted, as another kernel has.
    kernel.boot.kernelParams = [ "scenario=1" ];
    cut-kernel.boot.kernelParams = [ "scenario=2" ];
    sick-kernel = {
      imports = [ broken ];
      boot.kernelParams = [ "scenario=3" ];
    };
    dead = {
      imports = [ offline ];
      systemd.services.compliance-executor.serviceConfig.ExecStart = lib.mkForce (
        lib.getExe' pkgs.coreutils "false"
      );
    };
  };

  backup = pkgs.writeShellScript "backup" (builtins.readFile ../debian/image/etc/scenarios/backup);
in
{
  options.scenarios.variant = lib.mkEnableOption "being a system that the box is switched to";

  config = {
    virtualisation = {
      useBootLoader = true;
      useEFIBoot = true;
      emptyDiskImages = [ 64 ];
    };
    boot.loader.systemd-boot.enable = true;
    networking.nftables.enable = true;
    networking.firewall.enable = true;
    environment.systemPackages = [
      pkgs.cryptsetup
      pkgs.netcat-openbsd
      pkgs.nftables
      pkgs.openssl
      pkgs.perl
    ];

    systemd.services.scenario = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.ExecStart = "${lib.getExe' pkgs.coreutils "sleep"} infinity";
    };
    systemd.services.backup-records.serviceConfig = {
      Type = "oneshot";
      ExecStart = backup;
    };
    systemd.tmpfiles.rules = [ "d /var/backup 0755 root root -" ];

    # Test machines leave it out.
    system.switch.enable = true;

    environment.etc = lib.mkIf (!config.scenarios.variant) (
      {
        ${etc "box"}.source = "/run/current-system";
      }
      // lib.mapAttrs' (name: module: lib.nameValuePair (etc name) { source = system module; }) systems
    );
  };
}
