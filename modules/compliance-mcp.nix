# The control plane for NixOS: docs/options.md.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.compliance-mcp;
  hardening = import ./hardening.nix { inherit lib; };
  toml = import ./lib/toml.nix { inherit lib; } cfg.settings;
  option = name: "services.compliance-mcp.${name}";

  # Each as [ name of the option, its file, name of the credential ].
  secrets = [
    [
      "feedKeyFile"
      cfg.feedKeyFile
      "feed.key"
    ]
    [
      "checkpointKeyFile"
      cfg.checkpointKeyFile
      "checkpoint.key"
    ]
    [
      "tls.keyFile"
      cfg.tls.keyFile
      "tls.key"
    ]
  ];
  credential = name: "/run/credentials/compliance-mcp.service/${name}";

  listeners = [
    cfg.settings.listen
    cfg.settings.operator.listen
    cfg.settings.console.listen
  ];
  ip = import ./lib/ip.nix { inherit lib; };
  port = address: lib.toInt (lib.last (lib.splitString ":" address));
  isAddress =
    text:
    let
      parts = builtins.match "(\\[(.*)]|([0-9.]+)):[1-9][0-9]{0,4}" text;
      six = builtins.elemAt parts 1;
    in
    parts != null && (if six != null then ip.isSix six else ip.isFour (builtins.elemAt parts 2));
  # The server has no capability, and so none of the ports that root gives out.
  isPort = number: number >= 1024 && number <= 65535;
  isLoopback = text: builtins.match "(127\\.[0-9.]+|\\[::1]):.*" text != null;

  listener =
    default: description:
    mkOption {
      type = types.str;
      inherit default description;
      example = "[::1]:9443";
    };
  keyFile =
    example: what:
    mkOption {
      type = types.path;
      inherit example;
      description = "The private key that ${what}, PKCS#8 PEM. systemd hands it over as a credential, so it needs to be readable by root only. It must not lie in the Nix store.";
    };
in
{
  options.services.compliance-mcp = {
    enable = lib.mkEnableOption "the control plane of compliance appliances";

    package = lib.mkPackageOption pkgs "compliance-mcp" { };

    tenant = mkOption {
      type = types.str;
      example = "acme";
      description = "Whose sites these are: 1 to 63 of a-z, 0-9 and -, with neither first nor last a -.";
    };

    listen = listener "0.0.0.0:8443" "Where appliances connect, `ADDRESS:PORT`.";

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the host's firewall lets appliances in, to the port of {option}`services.compliance-mcp.listen`. Operators and browsers it never lets in.";
    };

    pollAfterSec = mkOption {
      type = types.ints.between 5 3600;
      default = 60;
      example = 30;
      description = "When an appliance shall poll again, in seconds.";
    };

    logOrigin = mkOption {
      type = types.str;
      example = "mcp.example/acme";
      description = "The origin line of the evidence log. It can never be changed: every trust file names it.";
    };

    feedKeyFile = keyFile "/run/secrets/compliance/feed.key" "signs feed heads";
    checkpointKeyFile = keyFile "/run/secrets/compliance/checkpoint.key" "signs checkpoints of the evidence log";

    root = {
      keys = mkOption {
        type = types.listOf types.str;
        example = [ "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" ];
        description = "The public halves of the offline keys that sign each site's first trust file, each 64 hexadecimal digits.";
      };
      threshold = mkOption {
        type = types.ints.positive;
        default = 1;
        example = 2;
        description = "How many of them must sign.";
      };
    };

    tls = {
      certificateFile = mkOption {
        type = types.path;
        example = "/etc/compliance/mcp.pem";
        description = "The server's certificate chain, PEM.";
      };
      keyFile = keyFile "/run/secrets/compliance/mcp-tls.key" "belongs to the server's certificate";
      clientCaFile = mkOption {
        type = types.path;
        example = "/etc/compliance/ca.pem";
        description = "The tenant's authority, PEM: who has no certificate of it gets nothing.";
      };
    };

    operator.listen = listener "127.0.0.1:8444" "Where operators connect, with a client certificate.";

    console = {
      listen = listener "127.0.0.1:8445" "Where a browser connects: a loopback address, since it is plain HTTP.";
      publicUrl = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "https://console.example";
        description = "How a browser reaches the console when a TLS proxy stands in front.";
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
        description = "How much is logged.";
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

    settings = mkOption {
      inherit (pkgs.formats.toml { }) type;
      default = { };
      example = lib.literalExpression "{ poll_after_s = 30; }";
      description = "What else `mcp.toml` says. The options above are put there as defaults, under the names that docs/OPERATIONS.md gives. The server refuses what it does not know.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.compliance-mcp.settings = {
      tenant = lib.mkDefault cfg.tenant;
      data_dir = lib.mkDefault "/var/lib/compliance-mcp";
      listen = lib.mkDefault cfg.listen;
      poll_after_s = lib.mkDefault cfg.pollAfterSec;
      log_origin = lib.mkDefault cfg.logOrigin;
      feed_key = lib.mkDefault (credential "feed.key");
      checkpoint_key = lib.mkDefault (credential "checkpoint.key");
      root = lib.mapAttrs (_: lib.mkDefault) { inherit (cfg.root) keys threshold; };
      tls = lib.mapAttrs (_: lib.mkDefault) {
        certificate = "${cfg.tls.certificateFile}";
        key = credential "tls.key";
        client_ca = "${cfg.tls.clientCaFile}";
      };
      operator.listen = lib.mkDefault cfg.operator.listen;
      console = {
        listen = lib.mkDefault cfg.console.listen;
      }
      // lib.optionalAttrs (cfg.console.publicUrl != null) {
        public_url = lib.mkDefault cfg.console.publicUrl;
      };
      log = lib.mapAttrs (_: lib.mkDefault) { inherit (cfg.log) level format; };
    };

    assertions =
      map (
        secret:
        let
          file = toString (builtins.elemAt secret 1);
        in
        {
          assertion = !lib.hasPrefix builtins.storeDir file;
          message = "${option (builtins.head secret)} is ${file}, in the Nix store, which everybody on the machine can read: write the path where the key lies on the server, as a string, such as \"/run/secrets/compliance/feed.key\".";
        }
      ) secrets
      ++ map (address: {
        assertion = isAddress address;
        message = "${builtins.toJSON address} is no place to listen: write ADDRESS:PORT, such as \"0.0.0.0:8443\" or \"[::1]:8444\".";
      }) listeners
      ++ map (address: {
        assertion = isAddress address -> isPort (port address);
        message = "${builtins.toJSON address} is no place where the server can listen: write a port from 1024 to 65535, and where appliances shall come to 443, forward that to it.";
      }) listeners
      ++ [
        {
          assertion = isLoopback cfg.settings.console.listen;
          message = "${option "console.listen"} is ${builtins.toJSON cfg.settings.console.listen}: the console speaks plain HTTP, so write a loopback address such as \"127.0.0.1:8445\", put a TLS proxy in front and name it in ${option "console.publicUrl"}.";
        }
        {
          assertion = builtins.length cfg.root.keys >= cfg.root.threshold;
          message = "${option "root.threshold"} is ${toString cfg.root.threshold}, and there are ${toString (builtins.length cfg.root.keys)} root keys: write at least as many ${option "root.keys"}.";
        }
      ];

    environment.etc."compliance/mcp.toml".text = toml;
    environment.systemPackages = [ cfg.package ];
    networking.firewall.allowedTCPPorts = lib.optional cfg.openFirewall (port cfg.settings.listen);

    users.users.compliance-mcp = {
      isSystemUser = true;
      group = "compliance-mcp";
      description = "Control plane of compliance appliances";
    };
    users.groups.compliance-mcp = { };

    systemd.services.compliance-mcp = {
      description = "Compliance control plane: orders out, evidence in";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      restartTriggers = [ (builtins.hashString "sha256" toml) ];
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = hardening.mcp { ports = map port listeners; } // {
        Type = "notify";
        ExecStart = "${lib.getExe' cfg.package "compliance-mcp"} serve --config /etc/compliance/mcp.toml";
        User = "compliance-mcp";
        Group = "compliance-mcp";
        LoadCredential = map (secret: "${lib.last secret}:${toString (builtins.elemAt secret 1)}") secrets;
        StateDirectory = "compliance-mcp";
        StateDirectoryMode = "0700";
        Restart = "always";
        RestartSec = "1s";
        RestartSteps = 8;
        RestartMaxDelaySec = "5min";
        TimeoutStopSec = "30s";
      };
    };
  };
}
