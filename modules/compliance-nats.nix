# What carries the control plane's events to NATS JetStream, for NixOS: docs/options.md.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.compliance-nats;
  hardening = import ./hardening.nix { inherit lib; };
  toml = import ./lib/toml.nix { inherit lib; } cfg.settings;
  option = name: "services.compliance-nats.${name}";

  # Each as { the option's name: its file }, under the name of its credential.
  secrets = lib.filterAttrs (_: secret: secret.file != null) {
    "carrier.key" = {
      name = "keyFile";
      file = cfg.keyFile;
    };
    "password" = {
      name = "passwordFile";
      file = cfg.passwordFile;
    };
    "token" = {
      name = "tokenFile";
      file = cfg.tokenFile;
    };
  };
  credential = name: lib.mkDefault "/run/credentials/compliance-nats.service/${name}";

  nats = cfg.settings.nats or { };
  server = nats.server or "";
  isPlain = lib.hasPrefix "nats://" server;
  isLoopback = builtins.match "nats://(127\\.0\\.0\\.1|\\[::1]|localhost)(:[0-9]+)?" server != null;

  # Each as [ its name, what it is, what to write ].
  required = [
    [
      "mcp"
      (cfg.settings.mcp or null)
      "the control plane's listener for operators, such as \"https://mcp.example:8444\""
    ]
    [
      "ca"
      (cfg.settings.ca or null)
      "the file with the tenant's authority, such as \"/etc/compliance/ca.pem\""
    ]
    [
      "cert"
      (cfg.settings.cert or null)
      "the file with the carrier's certificate, such as \"/etc/compliance/carrier-nats.pem\""
    ]
    [
      "nats.server"
      (nats.server or null)
      "where NATS is, such as \"tls://nats.example:4222\""
    ]
  ];

  secretFile =
    example: what:
    mkOption {
      type = types.nullOr types.path;
      default = null;
      inherit example;
      description = "The file with ${what}. systemd hands it over as a credential, so it needs to be readable by root only. It must not lie in the Nix store.";
    };
in
{
  options.services.compliance-nats = {
    enable = lib.mkEnableOption "the carrier of compliance events to NATS JetStream";

    package = lib.mkPackageOption pkgs "compliance-nats" { };

    keyFile = mkOption {
      type = types.path;
      example = "/run/secrets/compliance/carrier-nats.key";
      description = "The key of the carrier's certificate in `settings.cert`, PKCS#8 PEM: `compliancectl carrier add` makes both. systemd hands it over as a credential, so it needs to be readable by root only. It must not lie in the Nix store.";
    };

    passwordFile = secretFile "/run/secrets/compliance/nats.password" "the password of `settings.nats.user` at NATS";
    tokenFile = secretFile "/run/secrets/compliance/nats.token" "a token for NATS, in place of a user with a password";

    settings = mkOption {
      inherit (pkgs.formats.toml { }) type;
      default = { };
      example = {
        mcp = "https://mcp.example:8444";
        ca = "/etc/compliance/ca.pem";
        cert = "/etc/compliance/carrier-nats.pem";
        nats = {
          server = "tls://nats.example:4222";
          ca = "/etc/compliance/nats-ca.pem";
          user = "compliance";
        };
      };
      description = "What `nats.toml` says, under the names that docs/OPERATIONS.md gives; the files above are put there by themselves. The carrier refuses what it does not know.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.compliance-nats.settings = {
      key = credential "carrier.key";
    }
    // lib.optionalAttrs (cfg.passwordFile != null || cfg.tokenFile != null) {
      nats =
        lib.optionalAttrs (cfg.passwordFile != null) { password_file = credential "password"; }
        // lib.optionalAttrs (cfg.tokenFile != null) { token_file = credential "token"; };
    };

    assertions =
      lib.mapAttrsToList (_: secret: {
        assertion = !lib.hasPrefix builtins.storeDir (toString secret.file);
        message = "${option secret.name} is ${toString secret.file}, in the Nix store, which everybody on the machine can read: write the path where it lies on the machine, as a string, such as \"/run/secrets/compliance/nats.password\".";
      }) secrets
      ++ map (setting: {
        assertion = builtins.elemAt setting 1 != null;
        message = "${option "settings"}.${builtins.head setting} is missing: write ${lib.last setting}.";
      }) required
      ++ [
        {
          assertion = !isPlain || isLoopback;
          message = "${option "settings"}.nats.server is ${builtins.toJSON server}: plain nats:// is for 127.0.0.1, [::1] and localhost only, so write tls://HOST:PORT, and its authority as ${option "settings"}.nats.ca.";
        }
        {
          assertion = !lib.hasPrefix "tls://" server || nats ? ca;
          message = "${option "settings"}.nats.ca is missing: write the file with the authority of ${server}.";
        }
        {
          assertion = (nats ? user) == (cfg.passwordFile != null) && !(nats ? user && cfg.tokenFile != null);
          message = "NATS takes ${option "settings"}.nats.user with ${option "passwordFile"}, or ${option "tokenFile"}, or neither.";
        }
      ];

    environment.etc."compliance/nats.toml".text = toml;
    environment.systemPackages = [ cfg.package ];

    systemd.services.compliance-nats = {
      description = "Carries compliance events to NATS JetStream";
      wantedBy = [ "multi-user.target" ];
      after = [
        "network.target"
        "nss-lookup.target"
      ];
      restartTriggers = [ (builtins.hashString "sha256" toml) ];
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = hardening.client { addresses = null; } // {
        Type = "notify";
        ExecStart = "${lib.getExe' cfg.package "compliance-nats"} run --config /etc/compliance/nats.toml";
        # It keeps nothing.
        DynamicUser = true;
        LoadCredential = lib.mapAttrsToList (name: secret: "${name}:${toString secret.file}") secrets;
        Restart = "always";
        RestartSec = "1s";
        RestartSteps = 8;
        RestartMaxDelaySec = "5min";
        TimeoutStopSec = "30s";
      };
    };
  };
}
