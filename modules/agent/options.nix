# What is said of an appliance. Each description stands in docs/options.md.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.compliance-agent;
  toml = pkgs.formats.toml { };

  who =
    default: what:
    mkOption {
      type = types.enum [
        "auto"
        "order"
        "never"
      ];
      inherit default;
      example = "never";
      description = "Who may heal what the check `${what}` finds: the executor by itself (`auto`), only an order that somebody signed (`order`), or nobody (`never`).";
    };

  limit = what: {
    minIntervalSec = mkOption {
      type = types.nullOr types.ints.positive;
      default = null;
      example = 600;
      description = "The least time between two heals of the same thing that the check `${what}` finds, in seconds; {option}`services.compliance-agent.heal.minIntervalSec` unless said.";
    };
    failuresPerDay = mkOption {
      type = types.ints.between 1 24;
      default = 3;
      example = 1;
      description = "So many heals of one thing that the check `${what}` finds may fail within a day; then there is one alert, and it is left alone for a day.";
    };
  };

  seconds =
    default: description:
    mkOption {
      type = types.ints.positive;
      inherit default description;
      example = 2 * default;
    };

  windowOptions.options = {
    days = mkOption {
      type = types.listOf types.str;
      default = [
        "mon"
        "tue"
        "wed"
        "thu"
        "fri"
        "sat"
        "sun"
      ];
      example = [
        "sat"
        "sun"
      ];
      description = "The days on which the window opens.";
    };
    start = mkOption {
      type = types.str;
      example = "02:00";
      description = "When it opens, `HH:MM` in {option}`zone`. A start in a spring gap moves on by the gap; one that comes twice in autumn is the first.";
    };
    lengthMin = mkOption {
      type = types.int;
      example = 120;
      description = "How long it stays open, in elapsed minutes, 1 to 1440.";
    };
    zone = mkOption {
      type = types.str;
      example = "Europe/Paris";
      description = "The time zone, an IANA name.";
    };
  };
in
{
  options.services.compliance-agent = {
    enable = lib.mkEnableOption "the compliance appliance: the executor, which checks, heals and signs, and the agent, which talks to the control plane";

    package = lib.mkPackageOption pkgs "compliance-agent" { };

    tools = {
      systemd = mkOption {
        type = types.package;
        default = config.systemd.package;
        defaultText = lib.literalExpression "config.systemd.package";
        description = "Where `systemctl`, `systemd-run` and `bootctl` are taken from.";
      };
      nix = mkOption {
        type = types.package;
        default = config.nix.package;
        defaultText = lib.literalExpression "config.nix.package";
        description = "Where `nix`, `nix-store` and `nix-env` are taken from.";
      };
      nftables = lib.mkPackageOption pkgs "nftables" { };
    };

    uid = mkOption {
      type = types.ints.between 1 999;
      default = 380;
      example = 399;
      description = ''
        The user id, and group id, of the agent. It is fixed, because the executor answers this user only and
        the egress filter knows it by this number. NixOS gives no id from 330 to 399 to anybody by itself.
      '';
    };

    mode = mkOption {
      type = types.enum [
        "reseller"
        "direct"
      ];
      example = "direct";
      description = "How the appliance is sold: through a reseller, whose name {option}`services.compliance-agent.reseller` says, or directly.";
    };

    reseller = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "northwind";
      description = "The reseller; required where {option}`services.compliance-agent.mode` is `reseller`, and only there.";
    };

    tenant = mkOption {
      type = types.str;
      example = "acme";
      description = "The tenant: 1 to 63 of a-z, 0-9 and -, with neither first nor last a -.";
    };

    site = mkOption {
      type = types.str;
      example = "clinic-042";
      description = "The site, which is this one appliance: written as the tenant is.";
    };

    mcp = {
      url = mkOption {
        type = types.str;
        example = "https://mcp.example:8443";
        description = "The control plane: `https://HOST` or `https://HOST:PORT`, with nothing behind it.";
      };
      pollIntervalMs = mkOption {
        type = types.ints.between 200 3600000;
        default = 60000;
        example = 30000;
        description = "How often it is polled, in milliseconds. The control plane may ask for another pace, from 5 s to 1 h.";
      };
      pollJitterPercent = mkOption {
        type = types.ints.between 0 50;
        default = 10;
        example = 25;
        description = "How much sooner or later than its interval says a poll may come, in percent, so that sites which start together do not poll together.";
      };
    };

    tls = {
      caFile = mkOption {
        type = types.path;
        example = "/etc/compliance/ca.pem";
        description = "The only authority whose servers are trusted, PEM. It is no secret and may lie in the Nix store.";
      };
      certificateFile = mkOption {
        type = types.path;
        default = "/var/lib/compliance/tls.pem";
        example = "/run/secrets/compliance/tls.pem";
        description = "The agent's certificate, PEM. The agent restarts when this file changes; it has no state of its own.";
      };
      keyFile = mkOption {
        type = types.path;
        default = "/var/lib/compliance/tls.key";
        example = "/run/secrets/compliance/tls.key";
        description = ''
          Its private key, PKCS#8 PEM. `compliance-executor enrol` makes it where the default says. systemd hands
          it to the agent as a credential, so it needs to be readable by root only. It must not lie in the Nix
          store, which everybody can read.
        '';
      };
    };

    trustFile = mkOption {
      type = types.path;
      example = lib.literalExpression "./sites/clinic-042/trust.dsse.json";
      description = "The first trust file, which says whose signatures count. It is signed and no secret. Later ones come by order.";
    };

    baselineFile = mkOption {
      type = types.path;
      default = "/var/lib/compliance/baseline.dsse.json";
      example = "/etc/compliance/baseline.dsse.json";
      description = ''
        The first signed baseline. It is bound to the system that it judges, so it cannot be part of that system:
        it is put here when the appliance is enrolled, or comes by order. Without any, nothing is judged and nothing healed.
      '';
    };

    maintenanceWindows = mkOption {
      type = types.listOf (types.submodule windowOptions);
      default = [ ];
      example = [
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
      description = "When disruptive things may be done, at most 32 windows. None means never, but for orders that say `--when now`.";
    };

    roundIntervalMs = mkOption {
      type = types.ints.between 200 3600000;
      default = 15000;
      example = 30000;
      description = "How often the six checks run, in milliseconds.";
    };

    retentionDays = mkOption {
      type = types.ints.between 30 65535;
      default = 2557;
      example = 3653;
      description = "For how many days evidence stays on the appliance once it has its receipt; seven years unless said. HIPAA asks for six.";
    };

    heal = {
      services = who "auto" "services";
      backups = who "auto" "backups";
      firewall = who "auto" "firewall";
      logging = who "auto" "logging";
      patching = who "order" "patching";
      minIntervalSec = seconds 60 "The least time between two heals of the same thing, in seconds; it doubles after each failure.";
      limits = lib.genAttrs [
        "services"
        "backups"
        "firewall"
        "logging"
        "patching"
      ] limit;
      settleSec = seconds 10 "How long a unit must stay up after a restart before that counts as healed, in seconds.";
    };

    reboots = mkOption {
      type = types.enum [
        "order"
        "never"
      ];
      default = "order";
      example = "never";
      description = "Whether the machine is restarted: by an order that somebody signed, and to try a system that has to be booted (`order`), or not at all (`never`); then such orders are refused.";
    };

    evidence.keyFile = mkOption {
      type = types.path;
      default = "/var/lib/compliance/evidence.key";
      example = "/run/secrets/compliance/evidence.key";
      description = ''
        The private key that signs evidence, PKCS#8 PEM. `compliance-executor enrol` makes it where the default says, and
        nowhere else; from there it may be moved into a store of secrets. Where it lies elsewhere, systemd hands it to
        the executor as a credential. It must not lie in the Nix store, which everybody can read.
      '';
    };

    dryRun = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Change nothing, and record what would be done as alerts.";
    };

    activation = {
      enable = mkOption {
        type = types.bool;
        default = true;
        example = false;
        description = "Whether systems are activated by order.";
      };
      source = mkOption {
        type = types.enum [
          "store-path"
          "store-path-or-flake"
        ];
        default = "store-path";
        example = "store-path-or-flake";
        description = "Where such a system comes from: a store path that is here or comes from signed substituters, so that it was built elsewhere, once for all sites (`store-path`); or also a pinned flake that is built on the appliance, if the order names one (`store-path-or-flake`). An order for a flake is refused otherwise.";
      };
      trialBoots = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether a system that has to be booted, because of another kernel for one, may be tried by a restart; otherwise an order for it is refused. It needs systemd-boot, and a machine that asks nobody for anything when it boots: one that waits for a passphrase in its initrd waits for ever, and so would the trial. A panic, a hang and the emergency mode restart the machine then.";
      };
      switchSec = seconds 900 "How long one switch may take, forward or back, in seconds.";
      settleSec = seconds 30 "What is worse than before this long after a switch may still settle, in seconds.";
      soakSec = seconds 120 "How long a new system is watched at least before it is what boots, in seconds.";
      deadManSec = seconds 1500 "The dead-man puts the system of before back this long after it was armed, in seconds. It must be later than one switch, settling and the soak together and 60 s more.";
      probes = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "frontdesk-works.service" ];
        description = "Services with `Type=oneshot` and without `RemainAfterExit=` that say whether what the machine is for works, at most 16. Each is started at every look; one that fails, and did not before, undoes a new system.";
      };
      looks = mkOption {
        type = types.ints.between 1 255;
        default = 4;
        example = 8;
        description = "So many looks in a row must find nothing worse than before.";
      };
      heads = mkOption {
        type = types.ints.between 1 255;
        default = 2;
        example = 4;
        description = "So many polls must get through after the switch.";
      };
    };

    log = {
      level = mkOption {
        type = types.enum [
          "error"
          "warn"
          "info"
          "debug"
        ];
        default = "info";
        example = "debug";
        description = "How much both processes log.";
      };
      format = mkOption {
        type = types.enum [
          "text"
          "json"
        ];
        default = "text";
        example = "json";
        description = "How logs are written on stderr, where journald does not listen.";
      };
    };

    metricsFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/var/lib/prometheus-node-exporter/compliance.prom";
      description = ''
        Where the agent leaves its metrics after each poll, for the textfile collector of a node exporter; its name
        ends in `.prom`. Its folder is made, for the agent to write to, if it is not there; one that is there stays
        as it is. The agent can write anything else in that folder too, so it should have one of its own.
      '';
    };

    settings = {
      agent = mkOption {
        inherit (toml) type;
        default = { };
        example = lib.literalExpression "{ executor_uid = 0; }";
        description = "What else `agent.toml` says. The options above are put there as defaults, under the names that docs/OPERATIONS.md gives. The agent refuses what it does not know.";
      };
      executor = mkOption {
        inherit (toml) type;
        default = { };
        example = lib.literalExpression "{ machine_id = \"/etc/machine-id\"; }";
        description = "What else `executor.toml` says, as for {option}`services.compliance-agent.settings.agent`.";
      };
    };
  };

  config = lib.mkIf cfg.enable {
    services.compliance-agent.settings = import ./settings.nix { inherit config lib; };
  };
}
