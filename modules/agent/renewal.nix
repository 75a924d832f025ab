# Certificates: the agent asks for a new one before the old one ends, and begins anew with whatever is put in its
# place. What asks is as confined as the agent, and cannot write where systemd reads the agent's credentials.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.compliance-agent;
  hardening = import ../hardening.nix { inherit lib; };
  toToml = import ../lib/toml.nix { inherit lib; };

  folder = cfg.settings.executor.data_dir;
  inUse = toString cfg.tls.certificateFile;
  received = "/var/lib/compliance-renew/tls.pem";
  agent = lib.getExe' cfg.package "compliance-agent";
  credential = unit: name: "/run/credentials/${unit}.service/${name}";
in
{
  options.services.compliance-agent.tls.renew = lib.mkOption {
    type = lib.types.bool;
    default = inUse == "/var/lib/compliance/tls.pem";
    defaultText = lib.literalExpression "whether certificateFile is left at its default";
    example = false;
    description = "Whether the appliance asks the control plane, in the last month of its certificate, for a new one for the same key, and puts it in the place of the old one. Somebody with the authority's key answers.";
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      {
        systemd.paths.compliance-agent-certificate = {
          description = "Watches for a renewed certificate of the compliance agent";
          wantedBy = [ "paths.target" ];
          pathConfig.PathChanged = inUse;
        };
        systemd.services.compliance-agent-certificate = {
          description = "Restarts the compliance agent with a renewed certificate";
          serviceConfig = hardening.root // {
            Type = "oneshot";
            ExecStart = "${lib.getExe' cfg.tools.systemd "systemctl"} --no-block try-restart compliance-agent.service";
          };
        };
      }
      (lib.mkIf cfg.tls.renew {
        environment.etc."compliance/renew.toml".text = toToml (
          cfg.settings.agent
          // {
            tls = lib.genAttrs [ "ca" "certificate" "key" ] (credential "compliance-renew");
          }
        );

        systemd.timers.compliance-renew = {
          description = "Asks daily whether the compliance agent needs a new certificate";
          wantedBy = [ "timers.target" ];
          timerConfig = {
            OnCalendar = "daily";
            RandomizedDelaySec = "12h";
            Persistent = true;
          };
        };
        systemd.services.compliance-renew = {
          description = "Asks for a new certificate of the compliance agent";
          after = [
            "compliance-egress.service"
            "network.target"
            "nss-lookup.target"
          ];
          unitConfig = {
            ConditionPathExists = inUse;
            OnSuccess = "compliance-renewed.service";
            StartLimitIntervalSec = 0;
          };
          serviceConfig = hardening.client { addresses = cfg.egress.staticAddresses; } // {
            Type = "oneshot";
            ExecStart = "${agent} renew --config /etc/compliance/renew.toml --request ${credential "compliance-renew" "request"} --into ${received}";
            User = "compliance-agent";
            Group = "compliance-agent";
            LoadCredential = [
              "ca:${cfg.tls.caFile}"
              "certificate:${inUse}"
              "key:${toString cfg.tls.keyFile}"
              "request:${folder}/tls.csr"
            ];
            StateDirectory = "compliance-renew";
            StateDirectoryMode = "0700";
            TimeoutStartSec = "5min";
            # A control plane that is away is no failure to be healed.
            Restart = "on-failure";
            RestartMode = "direct";
            RestartSec = "1h";
          };
        };
        systemd.services.compliance-renewed = {
          description = "Puts a new certificate of the compliance agent in its place";
          unitConfig.ConditionPathExists = received;
          serviceConfig = hardening.root // {
            Type = "oneshot";
            # The agent's user owns what is read, so it is looked at once more, and written only if it fits.
            ExecStart = "${agent} put-certificate --received ${received} --certificate ${inUse} --ca ${credential "compliance-renewed" "ca"} --key ${credential "compliance-renewed" "key"}";
            LoadCredential = [
              "ca:${cfg.tls.caFile}"
              "key:${toString cfg.tls.keyFile}"
            ];
            # The received file is in a folder of the agent's user.
            CapabilityBoundingSet = [ "CAP_DAC_READ_SEARCH" ];
            ReadWritePaths = [ (dirOf inUse) ];
            TimeoutStartSec = "1min";
          };
        };
      })
    ]
  );
}
