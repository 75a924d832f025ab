# The baseline of an appliance as its configuration has it, so that what is declared and what is checked are one.
# It is unsigned: a person looks through it, adds what only a running system can tell, and signs it elsewhere.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.compliance-agent;
  inherit (pkgs.formats.toml { }) type;
  toToml = import ./lib/toml.nix { inherit lib; };

  section =
    check: example: from:
    mkOption {
      inherit type example;
      default = { };
      description = "What the baseline says for the check `${check}`, in the words of docs/checks/${check}.md. ${from} `{ not_applicable = \"the reason\"; }` says that it does not apply.";
    };

  isOpenedAtBoot =
    device:
    lib.hasPrefix "/dev/mapper/" device
    && config.boot.initrd.luks.devices ? ${lib.removePrefix "/dev/mapper/" device};
  encrypted = lib.attrNames (
    lib.filterAttrs (_: mount: isOpenedAtBoot (toString (mount.device or ""))) config.fileSystems
  );

  units = [
    "compliance-agent.service"
    "compliance-executor.service"
  ]
  ++ lib.optionals cfg.egress.enable [
    "compliance-egress.service"
    "compliance-egress.timer"
  ]
  ++ lib.optional cfg.tls.renew "compliance-renew.timer"
  ++ lib.optional (config.networking.firewall.enable || config.networking.nftables.enable) (
    if config.networking.nftables.enable then "nftables.service" else "firewall.service"
  );

  # From 26.11 on it stands elsewhere.
  inherit (config.services) journald;
  storage =
    if journald ? settings then journald.settings.Journal.Storage or "persistent" else journald.storage;

  # What does not apply expects nothing.
  meant = said: if said ? not_applicable then { inherit (said) not_applicable; } else said;
  # What is empty was not said by anybody, and is for the one who signs.
  sections = lib.filterAttrs (_: said: said != { } && said != { jobs = [ ]; }) (
    lib.mapAttrs (_: meant) {
      inherit (cfg.baseline)
        patching
        services
        backups
        firewall
        logging
        encryption
        ;
    }
  );
  missing = lib.filter (check: !(sections ? ${check})) [
    "patching"
    "services"
    "backups"
    "firewall"
    "logging"
    "encryption"
  ];

  text = ''
    # The baseline of ${cfg.tenant}/${cfg.site}, as its configuration has it. It is not signed.
    ${lib.optionalString (missing != [ ])
      "# Missing, and to be added before it can be signed, from `compliance-executor capture` on a system that has\n# proven itself: ${
        lib.concatMapStringsSep ", " (check: "[${check}]") missing
      }."
    }
    ${toToml (
      {
        inherit (cfg.baseline) version;
        inherit (cfg) tenant site;
        # Where the system will be is known before it is built.
        bound_to.system = builtins.unsafeDiscardStringContext "${config.system.build.toplevel}";
      }
      // sections
    )}'';
in
{
  options.services.compliance-agent.baseline = {
    version = mkOption {
      type = types.ints.positive;
      default = 1;
      example = 2;
      description = "The version of the unsigned baseline; it grows with each that is signed for the site.";
    };
    patching = section "patching" {
      max_age_d = 14;
    } "30 days, and 7 for a pending reboot, unless said.";
    services = section "services" {
      units = [ { unit = "postgresql.service"; } ];
    } "The appliance's own units and the firewall's stand there already; `units` are added.";
    backups = section "backups" {
      not_applicable = "this machine holds no records";
    } "The jobs of {option}`services.compliance-agent.backups` stand there already.";
    firewall =
      section "firewall"
        {
          not_applicable = "behind the clinic's own firewall";
        }
        "Nothing stands there: its digest is the kernel's, and `compliance-executor capture` prints it on a running system.";
    logging = section "logging" {
      forwarders = [ "vector.service" ];
    } "Whether the journal is kept on disk stands there already.";
    encryption = section "encryption" {
      mounts = [ "/" ];
    } "File systems on devices of `boot.initrd.luks.devices` stand there already.";
  };

  config = lib.mkIf cfg.enable {
    services.compliance-agent.baseline = {
      patching = {
        max_age_d = lib.mkDefault 30;
        max_reboot_pending_d = lib.mkDefault 7;
      };
      services.units = map (unit: { inherit unit; }) units;
      logging.persistent = lib.mkDefault (storage == "persistent");
      encryption = lib.mkIf (encrypted != [ ]) { mounts = encrypted; };
    };

    system.build.complianceBaseline = pkgs.writeText "baseline-${cfg.site}.toml" text;
  };
}
