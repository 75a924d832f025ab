# Prints what the modules make of a configuration, for a machine that is not NixOS: README.md says how to call it.
#
# `configuration` is a module, or a file with one, as it stands in a NixOS configuration. Its programs are below
# `prefix`, as the packages of the flake have them below $out; systemd's, Nix's and nft's are below `tools`.
{
  configuration,
  prefix ? "/usr/local",
  tools ? "/usr",
}:
let
  standIn = import ./stand-in;
  inherit (standIn) lib;
  units = import ./stand-in/units.nix { inherit lib; };

  at = outPath: { inherit outPath; };
  pkgs = {
    compliance-agent = at prefix;
    compliance-mcp = at prefix;
    compliance-nats = at prefix;
    formats.toml = _: { type = lib.types.anything; };
    getent = at tools;
    nftables = at tools;
    nix = at tools;
    restic = at tools;
    systemd = at tools;
    writeText = _: text: text;
  };

  inherit
    (standIn.evaluate {
      modules = [
        ./compliance-agent.nix
        ./compliance-mcp.nix
        ./compliance-nats.nix
        configuration
      ];
      inherit pkgs;
    })
    config
    ;

  failed = lib.filter (check: !check.assertion) config.assertions;
  accepted =
    result:
    if failed == [ ] then
      lib.foldl' (rest: warning: builtins.trace "warning: ${warning}" rest) result config.warnings
    else
      throw (lib.concatMapStringsSep "\n" (check: check.message) failed);

  named =
    suffix: render: lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.${suffix}" (render unit));

  sysusers =
    lib.mapAttrsToList (name: group: "g ${name} ${toString (group.gid or "-")}") config.users.groups
    ++ lib.mapAttrsToList (
      name: user: "u ${name} ${toString (user.uid or "-")}:${user.group} \"${user.description}\""
    ) config.users.users;
  tmpfiles = lib.concatLists (
    lib.mapAttrsToList (
      _: paths:
      lib.concatLists (
        lib.mapAttrsToList (
          path:
          lib.mapAttrsToList (type: entry: "${type} ${path} ${entry.mode} ${entry.user} ${entry.group} -")
        ) paths
      )
    ) config.systemd.tmpfiles.settings
  );
  file = lines: lib.concatMapStringsSep "" (line: "${line}\n") lines;
in
accepted {
  inherit config;

  # The files below /etc, as folders in folders.
  files = {
    compliance = lib.mapAttrs' (
      name: entry: lib.nameValuePair (lib.removePrefix "compliance/" name) entry.text
    ) (lib.filterAttrs (name: _: lib.hasPrefix "compliance/" name) config.environment.etc);
    systemd.system =
      named "service" units.service config.systemd.services
      // named "socket" units.socket config.systemd.sockets
      // named "timer" units.timer config.systemd.timers
      // named "path" units.path config.systemd.paths;
    "sysusers.d"."compliance.conf" = file sysusers;
    "tmpfiles.d"."compliance.conf" = file tmpfiles;
  };
}
