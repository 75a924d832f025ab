# What the agent may reach: the control plane, the resolver, and the time servers that are named. An own nftables
# table, which knows the agent by its user and says nothing about anybody else. It is loaded by a unit of its own,
# so it works with any firewall of the host, also one of iptables.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.compliance-agent;
  egress = cfg.egress;
  hardening = import ./hardening.nix { inherit lib; };
  parse = import ./lib/address.nix { inherit lib; };
  mcp =
    let
      parsed = parse cfg.mcp.url;
    in
    if parsed == null then
      {
        host = "";
        port = 0;
        static = false;
      }
    else
      parsed;

  isSix = lib.hasInfix ":";
  # Rules for `addresses` of either version.
  to =
    addresses: rest:
    lib.concatMap
      (
        family:
        lib.optional (
          family.of != [ ]
        ) "${family.name} daddr { ${lib.concatStringsSep ", " family.of} } ${rest}"
      )
      [
        {
          name = "ip";
          of = lib.filter (address: !isSix address) addresses;
        }
        {
          name = "ip6";
          of = lib.filter isSix addresses;
        }
      ];

  rules = [
    "ip daddr @mcp4 tcp dport ${toString mcp.port} accept"
    "ip6 daddr @mcp6 tcp dport ${toString mcp.port} accept"
  ]
  ++ to egress.resolvers "meta l4proto { tcp, udp } th dport 53 accept"
  ++ to egress.timeServers "udp dport 123 accept"
  ++ [ "counter reject with icmpx type admin-prohibited" ];

  table = ''
    table inet compliance_egress {
    	# Filled by compliance-egress. With this flag the firewall check leaves out what is in them.
    	set mcp4 {
    		type ipv4_addr
    		flags timeout
    	}

    	set mcp6 {
    		type ipv6_addr
    		flags timeout
    	}

    	chain output {
    		type filter hook output priority filter; policy accept;
    		meta skuid ${toString cfg.uid} jump agent
    	}

    	chain agent {
    ${lib.concatMapStringsSep "\n" (rule: "\t\t${rule}") rules}
    	}
    }
  '';

  program = "${cfg.package}/libexec/compliance/egress.sh";
  keep = verb: "${program} ${verb} /etc/compliance/egress.nft ${mcp.host}";
  unit = {
    path = [
      cfg.tools.nftables
      pkgs.getent
    ];
    serviceConfig = hardening.egress // {
      Type = "oneshot";
      DynamicUser = true;
      User = "compliance-egress";
      StateDirectory = "compliance-egress";
      TimeoutStartSec = "1min";
    };
  };
in
{
  options.services.compliance-agent.egress = {
    enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether the agent can reach nothing but the control plane, the resolvers and the time servers. Nobody else on the machine is affected.";
    };
    resolvers = mkOption {
      type = types.listOf types.str;
      default =
        if config.services.resolved.enable then [ "127.0.0.53" ] else config.networking.nameservers;
      defaultText = lib.literalExpression "if config.services.resolved.enable then [ \"127.0.0.53\" ] else config.networking.nameservers";
      example = [ "192.0.2.53" ];
      description = "Addresses of the resolvers that the agent may ask. None are needed where nscd or an address in {option}`services.compliance-agent.mcp.url` spares it the question.";
    };
    timeServers = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "192.0.2.123" ];
      description = "Addresses of time servers that the agent's user may ask (NTP). The agent itself asks none: the machine's time service has a user of its own.";
    };
    refreshSec = mkOption {
      type = types.ints.positive;
      default = 60;
      example = 300;
      description = "How often the control plane's name is looked up, in seconds. While that fails, the addresses that were found last stay.";
    };
    staticAddresses = mkOption {
      type = types.nullOr (types.listOf types.str);
      default = if mcp.static then [ mcp.host ] ++ egress.resolvers else null;
      defaultText = lib.literalExpression "the address in mcp.url and the resolvers; null if it has a name";
      example = [
        "192.0.2.10"
        "192.0.2.53"
      ];
      description = "All addresses that the agent may talk to, if they never change: systemd then holds it to them as well (`IPAddressAllow=`), whatever becomes of the table.";
    };
  };

  config = lib.mkIf (cfg.enable && egress.enable) {
    environment.etc."compliance/egress.nft".text = table;

    systemd.services.compliance-agent = {
      requires = [ "compliance-egress.service" ];
      after = [ "compliance-egress.service" ];
    };

    # The same user asks for a certificate.
    systemd.services.compliance-renew = lib.mkIf cfg.tls.renew {
      requires = [ "compliance-egress.service" ];
    };

    systemd.services.compliance-egress = unit // {
      description = "Egress table of the compliance agent";
      after = [ "nftables.service" ];
      # Who loads the host's ruleset anew may flush all others.
      unitConfig.ReloadPropagatedFrom = "nftables.service";
      unitConfig.StartLimitIntervalSec = 0;
      restartTriggers = [ (builtins.hashString "sha256" table) ];
      serviceConfig = unit.serviceConfig // {
        RemainAfterExit = true;
        ExecStart = keep "load";
        ExecReload = keep "refresh";
        ExecStop = "${program} unload";
        # The agent waits for it, rather than to fail with it.
        Restart = "on-failure";
        RestartMode = "direct";
        RestartSec = "5s";
      };
    };

    systemd.services.compliance-egress-refresh = unit // {
      description = "Looks up what the compliance agent may reach";
      # The same, when it is started.
      wantedBy = [ "nftables.service" ];
      # Whoever has changed the ruleset may ask for it.
      unitConfig.StartLimitIntervalSec = 0;
      requisite = [ "compliance-egress.service" ];
      after = [
        "compliance-egress.service"
        "nftables.service"
        "nss-lookup.target"
      ];
      serviceConfig = unit.serviceConfig // {
        ExecStart = keep "refresh";
      };
    };

    systemd.timers.compliance-egress = {
      description = "Keeps the egress table of the compliance agent";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        Unit = "compliance-egress-refresh.service";
        OnActiveSec = "10s";
        OnUnitInactiveSec = "${toString egress.refreshSec}s";
        AccuracySec = "1s";
      };
    };
  };
}
