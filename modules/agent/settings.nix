# What the options say, in the words of agent.toml and executor.toml, each as a default that `settings` can replace.
{ config, lib }:
let
  cfg = config.services.compliance-agent;
  tool = package: name: lib.getExe' cfg.tools.${package} name;
  loader = config.boot.loader;

  defaults = lib.mapAttrs (
    _: value: if lib.isAttrs value then defaults value else lib.mkDefault value
  );
  log = { inherit (cfg.log) level format; };

  window = window: {
    inherit (window) days start zone;
    length_min = window.lengthMin;
  };

  limit =
    limit:
    {
      per_day = limit.failuresPerDay;
    }
    // lib.optionalAttrs (limit.minIntervalSec != null) { min_interval_s = limit.minIntervalSec; };

  activation = {
    systemctl = tool "systemd" "systemctl";
    systemd_run = tool "systemd" "systemd-run";
    nix_store = tool "nix" "nix-store";
    nix_env = tool "nix" "nix-env";
    nix = tool "nix" "nix";
    # The dead-man runs this one, whatever else has changed.
    helper = lib.getExe' cfg.package "compliance-executor";
    roots = "/nix/var/nix/gcroots/compliance";
    boot = if loader.systemd-boot.enable then loader.efi.efiSysMountPoint else "/boot";
    boot_loader =
      if loader.systemd-boot.enable then
        {
          type = "systemd-boot";
          bootctl = tool "systemd" "bootctl";
        }
      else
        {
          type = "grub";
          configuration = "/boot/grub/grub.cfg";
        };
    profile = "/nix/var/nix/profiles/system";
    inherit (cfg.activation) source;
    folder = "/run/compliance";
    limits = {
      switch_s = cfg.activation.switchSec;
      settle_s = cfg.activation.settleSec;
      soak_s = cfg.activation.soakSec;
      deadman_s = cfg.activation.deadManSec;
      inherit (cfg.activation) looks heads;
    };
  }
  // lib.optionalAttrs (cfg.activation.probes != [ ]) { inherit (cfg.activation) probes; };
in
{
  agent = defaults (
    {
      mcp_url = cfg.mcp.url;
      socket = "/run/compliance/executor.sock";
      state_file = "/run/compliance-agent/state.json";
      poll_interval_ms = cfg.mcp.pollIntervalMs;
      poll_jitter_percent = cfg.mcp.pollJitterPercent;
      # Where systemd puts the unit's credentials.
      tls = lib.genAttrs [ "ca" "certificate" "key" ] (
        name: "/run/credentials/compliance-agent.service/${name}"
      );
      inherit log;
    }
    // lib.optionalAttrs (cfg.metricsFile != null) { metrics_file = toString cfg.metricsFile; }
  );

  executor = defaults (
    {
      inherit (cfg) tenant site mode;
      data_dir = "/var/lib/compliance";
      agent_uid = cfg.uid;
      trust = "${cfg.trustFile}";
      baseline = "${cfg.baselineFile}";
      systemctl = tool "systemd" "systemctl";
      round_interval_ms = cfg.roundIntervalMs;
      retention_days = cfg.retentionDays;
      window = map window cfg.maintenanceWindows;
      inherit (cfg) reboots;
      dry_run = cfg.dryRun;
      heal = {
        inherit (cfg.heal)
          services
          backups
          firewall
          logging
          patching
          ;
        min_interval_s = cfg.heal.minIntervalSec;
        settle_s = cfg.heal.settleSec;
        limits = lib.mapAttrs (_: limit) cfg.heal.limits;
      };
      inherit log;
    }
    // lib.optionalAttrs (cfg.reseller != null) { inherit (cfg) reseller; }
    # A baseline that has the egress table has it without the addresses.
    // lib.optionalAttrs cfg.egress.enable { fills_sets = "compliance-egress-refresh.service"; }
    # Where systemd puts the unit's credentials.
    // lib.optionalAttrs (toString cfg.evidence.keyFile != "/var/lib/compliance/evidence.key") {
      evidence_key = "/run/credentials/compliance-executor.service/evidence";
    }
    // lib.optionalAttrs cfg.activation.enable { inherit activation; }
  );
}
