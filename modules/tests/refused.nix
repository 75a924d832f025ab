# What is refused when a configuration is evaluated: each changes one thing of the least appliance or control plane,
# and `says` is part of the sentence that comes of it. .ci/modules and ../../checks.nix try them.
let
  appliance = change: {
    imports = [
      ./appliance.nix
      { services.compliance-agent = change; }
    ];
  };
  # In place of what the least one says; `path` is the option's, from its end.
  forced =
    path: value:
    { lib, ... }:
    {
      imports = [ ./appliance.nix ];
      services.compliance-agent = builtins.foldl' (inner: name: {
        ${name} = inner;
      }) (lib.mkForce value) path;
    };
  window =
    change:
    forced
      [ "maintenanceWindows" ]
      [
        (
          {
            start = "02:00";
            lengthMin = 60;
            zone = "UTC";
          }
          // change
        )
      ];
  controlPlane =
    path: value:
    { lib, ... }:
    {
      imports = [ ./control-plane.nix ];
      services.compliance-mcp = builtins.foldl' (inner: name: {
        ${name} = inner;
      }) (lib.mkForce value) path;
    };
  carrier =
    path: value:
    { lib, ... }:
    {
      imports = [ ./carrier.nix ];
      services.compliance-nats = builtins.foldl' (inner: name: {
        ${name} = inner;
      }) (lib.mkForce value) path;
    };
in
{
  misspelt-option = {
    module = appliance { sitte = "clinic-042"; };
    says = "The option `services.compliance-agent.sitte' does not exist";
  };
  misspelt-option-of-a-job = {
    module = appliance {
      backups.records = {
        tool = "restic";
        maxAgeHour = 3;
      };
    };
    says = "The option `services.compliance-agent.backups.records.maxAgeHour' does not exist";
  };
  misspelt-job-of-borg = {
    module = appliance { backups.images.tool = "borg"; };
    says = "write the name of one in services.borgbackup.jobs";
  };
  a-source-that-is-none = {
    module = appliance { activation.source = "flake"; };
    says = "activation.source' is not of type";
  };
  trial-without-its-boot-loader = {
    module = appliance { activation.trialBoots = true; };
    says = "only systemd-boot can try a system once";
  };
  trial-behind-a-passphrase = {
    module = {
      imports = [ (appliance { activation.trialBoots = true; }) ];
      boot.loader.systemd-boot.enable = true;
      boot.initrd.systemd.enable = false;
      boot.initrd.luks.devices.root.device = "/dev/sda2";
    };
    says = "a scripted initrd that asks for a passphrase waits for ever";
  };
  name-of-a-time-server = {
    module = appliance { egress.timeServers = [ "pool.ntp.org" ]; };
    says = "egress.timeServers has \"pool.ntp.org\": write addresses";
  };
  resolver-that-is-no-address = {
    module = appliance { egress.resolvers = [ "192.0.2.300" ]; };
    says = "egress.resolvers has \"192.0.2.300\": write addresses";
  };
  resolver-of-version-6-that-is-none = {
    module = appliance { egress.resolvers = [ "2001:db8:::53" ]; };
    says = "egress.resolvers has \"2001:db8:::53\": write addresses";
  };
  control-plane-at-no-address = {
    module = forced [ "url" "mcp" ] "https://999.0.2.10:8443";
    says = "mcp.url is \"https://999.0.2.10:8443\": write https://HOST";
  };
  zone-of-a-resolver = {
    module = appliance { egress.resolvers = [ "fe80::1%eth0" ]; };
    says = "egress.resolvers has \"fe80::1%eth0\": write addresses";
  };
  port-that-is-none = {
    module = forced [ "url" "mcp" ] "https://mcp.example:99999";
    says = "write https://HOST or https://HOST:PORT";
  };
  wrong-type = {
    module = appliance { roundIntervalMs = "15 s"; };
    says = "`services.compliance-agent.roundIntervalMs' is not of type";
  };
  unknown-word = {
    module = appliance { heal.services = "sometimes"; };
    says = "`services.compliance-agent.heal.services' is not of type `one of \"auto\", \"order\", \"never\"'";
  };
  nothing-said = {
    module.services.compliance-agent.enable = true;
    says = "has no value defined";
  };
  key-in-the-store = {
    module = forced [ "keyFile" "tls" ] "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-tls.key";
    says = "in the Nix store, which everybody on the machine can read: write the path where the key lies on the appliance";
  };
  evidence-key-in-the-store = {
    module = appliance {
      evidence.keyFile = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-evidence.key";
    };
    says = "services.compliance-agent.evidence.keyFile is /nix/store/";
  };
  breaker-that-never-trips = {
    module = appliance { heal.limits.backups.failuresPerDay = 25; };
    says = "`services.compliance-agent.heal.limits.backups.failuresPerDay' is not of type `integer between 1 and 24";
  };
  limit-of-what-is-not-healed = {
    module = appliance { heal.limits.encryption.failuresPerDay = 1; };
    says = "The option `services.compliance-agent.heal.limits.encryption' does not exist";
  };
  relative-key = {
    module = forced [ "keyFile" "tls" ] "tls.key";
    says = "`services.compliance-agent.tls.keyFile' is not of type";
  };
  http = {
    module = forced [ "url" "mcp" ] "http://mcp.example:8443";
    says = "write https://HOST or https://HOST:PORT, with nothing behind it; plain http is never spoken";
  };
  path-behind-the-host = {
    module = forced [ "url" "mcp" ] "https://mcp.example/x";
    says = "write https://HOST or https://HOST:PORT";
  };
  jitter-of-more-than-half = {
    module = appliance { mcp.pollJitterPercent = 51; };
    says = "`services.compliance-agent.mcp.pollJitterPercent' is not of type";
  };
  metrics-file-that-is-not-read = {
    module = appliance { metricsFile = "/var/lib/prometheus-node-exporter/compliance.txt"; };
    says = "services.compliance-agent.metricsFile is /var/lib/prometheus-node-exporter/compliance.txt: write a file in a folder of its own";
  };
  metrics-file-in-no-folder = {
    module = appliance { metricsFile = "/compliance.prom"; };
    says = "that ends in .prom, since the node exporter reads no other";
  };
  site-in-capitals = {
    module = forced [ "site" ] "Clinic 42";
    says = "services.compliance-agent.site is \"Clinic 42\": write 1 to 63 of a-z, 0-9 and -";
  };
  window-start = {
    module = window { start = "2 am"; };
    says = "maintenanceWindows: \"2 am\" is not a start: write HH:MM";
  };
  window-day = {
    module = window { days = [ "Sunday" ]; };
    says = "maintenanceWindows: \"Sunday\" is not a day: write mon, tue, wed, thu, fri, sat or sun";
  };
  window-day-twice = {
    module = window {
      days = [
        "sun"
        "sun"
      ];
    };
    says = "a day is named twice";
  };
  window-without-days = {
    module = window { days = [ ]; };
    says = "a window without days never opens";
  };
  window-length = {
    module = window { lengthMin = 2000; };
    says = "a window of 2000 min is not possible: write a `lengthMin` from 1 to 1440";
  };
  window-zone = {
    module = window { zone = "CET"; };
    says = "\"CET\" is not a time zone: write an IANA name";
  };
  reseller-without-name = {
    module = forced [ "mode" ] "reseller";
    says = "write who that is, services.compliance-agent.reseller = \"name\"";
  };
  reseller-in-direct-mode = {
    module = appliance { reseller = "northwind"; };
    says = "services.compliance-agent.reseller belongs to services.compliance-agent.mode = \"reseller\" only";
  };
  early-dead-man = {
    module = appliance { activation.deadManSec = 600; };
    says = "services.compliance-agent.activation.deadManSec is 600: write more than 1110";
  };
  job-that-is-not-there = {
    module = appliance { backups.records.tool = "restic"; };
    says = "write the name of one in services.restic.backups";
  };
  console-for-everybody = {
    module = controlPlane [ "listen" "console" ] "0.0.0.0:8445";
    says = "the console speaks plain HTTP, so write a loopback address";
  };
  listen-on-roots-port = {
    module = controlPlane [ "listen" ] "0.0.0.0:443";
    says = "is no place where the server can listen: write a port from 1024 to 65535";
  };
  listen-on-a-port-that-is-none = {
    module = controlPlane [ "listen" ] "[::]:99999";
    says = "is no place where the server can listen: write a port from 1024 to 65535";
  };
  listen-at-no-address = {
    module = controlPlane [ "listen" ] "0.0.0.256:8443";
    says = "is no place to listen: write ADDRESS:PORT";
  };
  listen-without-port = {
    module = controlPlane [ "listen" ] "0.0.0.0";
    says = "is no place to listen: write ADDRESS:PORT";
  };
  feed-key-in-the-store = {
    module = controlPlane [ "feedKeyFile" ] "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-feed.key";
    says = "services.compliance-mcp.feedKeyFile is /nix/store/";
  };
  more-signers-than-keys = {
    module = controlPlane [ "threshold" "root" ] 2;
    says = "write at least as many services.compliance-mcp.root.keys";
  };
  operator-key-in-the-store = {
    module = carrier [ "keyFile" ] "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-carrier-nats.key";
    says = "services.compliance-nats.keyFile is /nix/store/";
  };
  token-in-the-store = {
    module = carrier [ "tokenFile" ] "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nats.token";
    says = "services.compliance-nats.tokenFile is /nix/store/";
  };
  carrier-without-control-plane = {
    module = carrier [ "mcp" "settings" ] null;
    says = "services.compliance-nats.settings.mcp is missing: write the control plane's listener for operators";
  };
  nats-without-tls = {
    module = carrier [ "server" "nats" "settings" ] "nats://nats.example:4222";
    says = "plain nats:// is for 127.0.0.1, [::1] and localhost only";
  };
  nats-of-no-authority = {
    module = carrier [ "nats" "settings" ] { server = "tls://nats.example:4222"; };
    says = "write the file with the authority of tls://nats.example:4222";
  };
  nats-with-two-logins = {
    module = carrier [ "tokenFile" ] "/run/secrets/nats.token";
    says = "NATS takes services.compliance-nats.settings.nats.user with services.compliance-nats.passwordFile";
  };
}
