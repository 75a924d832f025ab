# What types cannot say: each sentence says what to write instead.
{ config, lib, ... }:
let
  cfg = config.services.compliance-agent;
  parse = import ../lib/address.nix { inherit lib; };
  ip = import ../lib/ip.nix { inherit lib; };
  complaint = import ../lib/window.nix { inherit lib; };
  option = name: "services.compliance-agent.${name}";

  isName = text: builtins.match "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" text != null;
  name = which: {
    assertion = isName cfg.${which};
    message = "${option which} is ${builtins.toJSON cfg.${which}}: write 1 to 63 of a-z, 0-9 and -, with neither first nor last a -, such as \"clinic-042\".";
  };

  isInStore = file: lib.hasPrefix builtins.storeDir (toString file);
  secret = group: name: {
    assertion = !isInStore cfg.${group}.keyFile;
    message = "${option "${group}.keyFile"} is ${toString cfg.${group}.keyFile}, in the Nix store, which everybody on the machine can read: write the path where the key lies on the appliance, as a string, such as \"/run/secrets/compliance/${name}.key\".";
  };

  # What nft does not take would keep the whole table from being loaded.
  isAddress = text: ip.isFour text || ip.isSix text;
  addresses =
    which:
    let
      others = lib.filter (text: !isAddress text) cfg.egress.${which};
    in
    {
      assertion = cfg.egress.enable -> others == [ ];
      message = "${option "egress.${which}"} has ${
        lib.concatMapStringsSep ", " builtins.toJSON others
      }: write addresses, such as \"192.0.2.53\" or \"2001:db8::53\", without a name, a zone or a port.";
    };

  windows = lib.concatMap (
    window:
    let
      why = complaint window;
    in
    lib.optional (why != null) {
      assertion = false;
      message = "${option "maintenanceWindows"}: ${why}.";
    }
  ) cfg.maintenanceWindows;

  needed = cfg.activation.switchSec + cfg.activation.settleSec + cfg.activation.soakSec + 60;
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      (name "tenant")
      (name "site")
      (addresses "resolvers")
      (addresses "timeServers")
      (secret "tls" "tls")
      (secret "evidence" "evidence")
      {
        assertion = parse cfg.mcp.url != null;
        message = "${option "mcp.url"} is ${builtins.toJSON cfg.mcp.url}: write https://HOST or https://HOST:PORT, with nothing behind it; plain http is never spoken.";
      }
      {
        # A folder, and nothing in the path that systemd would take apart.
        assertion =
          cfg.metricsFile != null
          -> builtins.match "(/[A-Za-z0-9._-]+)+/[A-Za-z0-9._-]+[.]prom" (toString cfg.metricsFile) != null;
        message = "${option "metricsFile"} is ${toString cfg.metricsFile}: write a file in a folder of its own, of letters, digits, ., _ and -, that ends in .prom, since the node exporter reads no other: such as \"/var/lib/prometheus-node-exporter/compliance.prom\".";
      }
      {
        assertion = cfg.mode == "reseller" -> cfg.reseller != null;
        message = "${option "mode"} is \"reseller\": write who that is, ${option "reseller"} = \"name\", or set the mode to \"direct\".";
      }
      {
        assertion = cfg.mode == "direct" -> cfg.reseller == null;
        message = "${option "reseller"} belongs to ${option "mode"} = \"reseller\" only: remove it, or set the mode.";
      }
      {
        assertion = builtins.length cfg.maintenanceWindows <= 32;
        message = "${option "maintenanceWindows"} has ${toString (builtins.length cfg.maintenanceWindows)} windows: write at most 32.";
      }
      {
        assertion =
          cfg.activation.trialBoots
          -> (config.boot.initrd.systemd.enable || config.boot.initrd.luks.devices == { });
        message = "${option "activation.trialBoots"}: a scripted initrd that asks for a passphrase waits for ever; write boot.initrd.systemd.enable = true, or leave trial boots out.";
      }
      {
        assertion = cfg.activation.trialBoots -> config.boot.loader.systemd-boot.enable;
        message = "${option "activation.trialBoots"}: only systemd-boot can try a system once; write boot.loader.systemd-boot.enable = true, or leave trial boots out.";
      }
      {
        assertion = cfg.activation.enable -> cfg.activation.deadManSec > needed;
        message = "${option "activation.deadManSec"} is ${toString cfg.activation.deadManSec}: write more than ${toString needed}, which one switch, settling and the soak and 60 s more may take, or lower those.";
      }
      {
        assertion = cfg.activation.enable -> config.system.switch.enable;
        message = "${option "activation.enable"} needs a system that can be switched to: set system.switch.enable = true, or ${option "activation.enable"} = false.";
      }
      {
        assertion = cfg.activation.enable -> config.nix.enable;
        message = "${option "activation.enable"} needs Nix on the appliance: set nix.enable = true, or ${option "activation.enable"} = false.";
      }
      {
        assertion =
          cfg.activation.enable -> config.boot.loader.systemd-boot.enable || config.boot.loader.grub.enable;
        message = "${option "activation.enable"} needs a boot loader that can be asked what it boots: set boot.loader.systemd-boot.enable = true or boot.loader.grub.enable = true, or ${option "activation.enable"} = false.";
      }
    ]
    ++ windows;

    warnings =
      lib.optional (cfg.maintenanceWindows == [ ])
        "${option "maintenanceWindows"} is empty: nothing disruptive is ever done but by orders with `--when now`. Write a window, such as { start = \"02:00\"; lengthMin = 120; zone = \"Europe/Paris\"; }."
      ++
        lib.optional (!cfg.egress.enable)
          "${option "egress.enable"} is false: an agent that is owned can reach the whole network. Leave it true."
      ++ lib.optional cfg.dryRun "${option "dryRun"} is true: nothing is healed and no order carried out. Set it to false when you have seen enough."
      ++ lib.optional (lib.hasPrefix "/nix/store" (toString cfg.baselineFile)) "${option "baselineFile"} is in the Nix store: a baseline is bound to the system that it judges and cannot be part of it, so this one never comes into force here. Leave the option out, and put the signed file at /var/lib/compliance/baseline.dsse.json.";
  };
}
