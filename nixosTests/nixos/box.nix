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
  offline =
    let
      ip = lib.getExe' pkgs.iproute2 "ip";
      eth1 = config.networking.interfaces.eth1;
      addresses = eth1.ipv4.addresses ++ eth1.ipv6.addresses;
    in
    {
      systemd.services.offline = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${ip} address flush dev eth1";
          ExecStop = map (
            it: "${ip} address add ${it.address}/${toString it.prefixLength} dev eth1"
          ) addresses;
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

  # The disk is as large as what is put on it. What this takes is given back at the first boot: an activation wants
  # 1 GiB free. In the image, zeros take no room.
  room = pkgs.runCommandLocal "scenario-room" { } "truncate --size=2G $out";

  backup = pkgs.writeShellScript "backup" (builtins.readFile ../debian/image/etc/scenarios/backup);
in
{
  options.scenarios.variant = lib.mkEnableOption "being a system that the box is switched to";

  config = {
    virtualisation = {
      useBootLoader = true;
      useEFIBoot = true;
      emptyDiskImages = [ 64 ];
      additionalPaths = [ room ];
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

    # Found by its name, since a system that has its path keeps it from being deleted. What refers to it is the list
    # of paths that the disk was made from.
    systemd.services.scenario-room = {
      wantedBy = [ "multi-user.target" ];
      path = [ config.nix.package ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        for room in /nix/store/*-scenario-room; do
          [ ! -e "$room" ] || nix-store --delete $(nix-store --query --referrers-closure "$room")
        done
      '';
    };
    # A path that cannot be had is asked of nobody.
    nix.settings.substituters = lib.mkForce [ ];

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
