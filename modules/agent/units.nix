# The two processes of an appliance, and what belongs to them.
{ config, lib, ... }:
let
  cfg = config.services.compliance-agent;
  hardening = import ./../hardening.nix { inherit lib; };
  toToml = import ../lib/toml.nix { inherit lib; };

  agentToml = toToml cfg.settings.agent;
  executorToml = toToml cfg.settings.executor;
  digest = builtins.hashString "sha256";

  # The folder that the node exporter reads.
  metrics = if cfg.metricsFile == null then null else dirOf (toString cfg.metricsFile);

  tried = cfg.activation.enable && cfg.activation.trialBoots;

  keyElsewhere = toString cfg.evidence.keyFile != "/var/lib/compliance/evidence.key";

  # Where a trial boot's guard is left: on the file system that no boot can be without.
  trial = "${cfg.settings.executor.activation.roots}/trial";

  confined = hardening.executor {
    triesOnce = cfg.activation.enable && config.boot.loader.systemd-boot.enable;
  };

  # However often they die, they come back.
  lives = {
    Type = "notify";
    Restart = "always";
    RestartSec = "1s";
    RestartSteps = 8;
    RestartMaxDelaySec = "5min";
    WatchdogSec = "3min";
    TimeoutStopSec = "30s";
  };
in
{
  config = lib.mkIf cfg.enable {
    environment.etc = {
      "compliance/agent.toml".text = agentToml;
      "compliance/executor.toml".text = executorToml;
    };
    # nft is looked for there by the executor; the others are for people.
    environment.systemPackages = [
      cfg.package
      cfg.tools.nftables
    ];

    users.users.compliance-agent = {
      isSystemUser = true;
      inherit (cfg) uid;
      group = "compliance-agent";
      description = "Courier of the compliance appliance";
    };
    users.groups.compliance-agent.gid = cfg.uid;

    systemd.services.compliance-agent = {
      description = "Compliance agent: carries orders in and evidence out";
      wantedBy = [ "multi-user.target" ];
      wants = [ "compliance-executor.socket" ];
      after = [
        "compliance-executor.socket"
        "network.target"
        "nss-lookup.target"
      ];
      # An appliance that is not enrolled yet has none.
      unitConfig.ConditionPathExists = toString cfg.tls.certificateFile;
      unitConfig.StartLimitIntervalSec = 0;
      restartTriggers = [ (digest agentToml) ];
      serviceConfig =
        hardening.client { addresses = cfg.egress.staticAddresses; }
        // lives
        // {
          ExecStart = "${lib.getExe' cfg.package "compliance-agent"} run --config /etc/compliance/agent.toml";
          User = "compliance-agent";
          Group = "compliance-agent";
          LoadCredential = [
            "ca:${cfg.tls.caFile}"
            "certificate:${toString cfg.tls.certificateFile}"
            "key:${toString cfg.tls.keyFile}"
          ];
          RuntimeDirectory = "compliance-agent";
          RuntimeDirectoryMode = "0750";
        }
        # Without it, it polls all the same.
        // lib.optionalAttrs (metrics != null) { ReadWritePaths = [ "-${metrics}" ]; };
    };

    systemd.sockets.compliance-executor = {
      description = "Where the compliance agent asks the executor";
      wantedBy = [ "sockets.target" ];
      listenStreams = [ "/run/compliance/executor.sock" ];
      socketConfig = {
        SocketUser = "compliance-agent";
        SocketGroup = "compliance-agent";
        SocketMode = "0600";
      };
    };

    systemd.services.compliance-executor = {
      description = "Compliance executor: verifies, observes, decides, heals, signs";
      wantedBy = [ "multi-user.target" ];
      requires = [ "compliance-executor.socket" ];
      after = [
        "compliance-executor.socket"
        "nftables.service"
        "systemd-journald.service"
      ];
      # An appliance that is not enrolled yet has nothing there.
      unitConfig.ConditionDirectoryNotEmpty = cfg.settings.executor.data_dir;
      unitConfig.StartLimitIntervalSec = 0;
      restartTriggers = [ (digest executorToml) ];
      serviceConfig =
        confined
        // lives
        // {
          ExecStart = "${lib.getExe' cfg.package "compliance-executor"} serve --config /etc/compliance/executor.toml";
          StateDirectory = "compliance";
          StateDirectoryMode = "0700";
          # Decisions of activations lie there, and outlive it.
          RuntimeDirectory = "compliance";
          RuntimeDirectoryPreserve = true;
        }
        // lib.optionalAttrs keyElsewhere {
          LoadCredential = "evidence:${toString cfg.evidence.keyFile}";
        };
    };

    # A system that is booted on trial goes back by it, whatever becomes of its executor.
    # By this file a system says that it can be tried: whatever stops its boot restarts the machine.
    environment.etc."compliance/trial-boot" = lib.mkIf tried {
      text = "${trial}\n";
    };
    # Nobody is there to answer, or to read what went wrong. As systemd does it for its own reboot.target.
    boot.initrd.systemd.targets.initrd.unitConfig = lib.mkIf tried {
      JobTimeoutSec = "30min";
      JobTimeoutAction = "reboot-force";
    };
    systemd.services.compliance-trial = lib.mkIf tried {
      description = "Guard of a trial boot of the compliance appliance";
      # As early as its file can be read, and also where the boot ends in an emergency.
      wantedBy = [ "sysinit.target" ];
      before = [ "shutdown.target" ];
      conflicts = [ "shutdown.target" ];
      # It may be waiting when somebody switches, and goes on waiting.
      restartIfChanged = false;
      unitConfig = {
        DefaultDependencies = false;
        IgnoreOnIsolate = true;
        RequiresMountsFor = trial;
        X-StopOnRemoval = false;
      };
      serviceConfig = confined // {
        Type = "exec";
        ExecStart = "${lib.getExe' cfg.package "compliance-executor"} guard ${trial}";
        RuntimeDirectory = "compliance";
        RuntimeDirectoryPreserve = true;
        # Its own, and not one for which /tmp has to be there first.
        PrivateTmp = "disconnected";
      };
    };

    # A system that stops before its first units start has to come back as well.
    boot.kernelParams = lib.mkIf tried [
      "panic=60"
      "boot.panic_on_fail"
    ];
    systemd.enableEmergencyMode = lib.mkIf tried (lib.mkDefault false);
    systemd.settings.Manager.RuntimeWatchdogSec = lib.mkIf tried (lib.mkDefault "60s");

    # Where it is there already it may be somebody else's, and stays as it is.
    systemd.tmpfiles.settings.compliance-metrics = lib.mkIf (metrics != null) {
      ${metrics}.d = {
        mode = ":0755";
        user = ":compliance-agent";
        group = ":compliance-agent";
      };
    };

    # Both must be there before the executor starts, or it could not write to them.
    systemd.tmpfiles.settings.compliance = lib.mkIf cfg.activation.enable (
      lib.genAttrs
        [
          cfg.settings.executor.activation.roots
          "/run/nixos"
        ]
        (_: {
          d = {
            mode = "0755";
            user = "root";
            group = "root";
          };
        })
    );
  };
}
