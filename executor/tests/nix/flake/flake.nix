# Systems as NixOS builds them, as far as an activation can tell, without nixpkgs: a file each, a few lines of
# shell as switch-to-configuration, and units that tell the systems apart. What becomes of each is in its `kind`.
{
  outputs =
    _:
    let
      toplevel =
        name:
        {
          kind ? "good",
          kernel ? "6.12.1",
        }:
        derivation {
          name = "nixos-system-${name}";
          system = "x86_64-linux";
          builder = "/bin/sh";
          args = [ ./build.sh ];
          switch = ./switch-to-configuration.sh;
          inherit kind;
          title = name;
          # A file of its own, as the kernel is on NixOS: systems that share it have the same link.
          kernel = builtins.toFile "linux-${kernel}" kernel;
        };
      systems = {
        one = { };
        two = { };
        three = { };
        # Its activation script ends with an error before anything runs of it.
        refuses = {
          kind = "refuses";
        };
        # Its activation script ends with an error, and it runs all the same.
        stumbles = {
          kind = "stumbles";
        };
        # The same, and its switch says that it is only a unit that is not well.
        hides = {
          kind = "hides";
        };
        # Its unit cannot start.
        broken = {
          kind = "broken";
        };
        # Its switch says that all went well, and did nothing.
        lies = {
          kind = "lies";
        };
        # Its unit starts, and fails some seconds later.
        sickens = {
          kind = "sickens";
        };
        # A unit of it ends some seconds later, and does not fail.
        stops = {
          kind = "stops";
        };
        # A unit of it fails and is started again, and again.
        loops = {
          kind = "loops";
        };
        # All runs, and it is of no use: the probe says so.
        useless = {
          kind = "useless";
        };
        # Its switch does not end, and does not want to.
        hangs = {
          kind = "hangs";
        };
        # Its switch takes some seconds.
        slow = {
          kind = "slow";
        };
        # The executor does not start with it.
        headless = {
          kind = "headless";
        };
        # It has another kernel.
        other-kernel = {
          kernel = "6.18.1";
        };
      };
    in
    {
      nixosConfigurations = builtins.mapAttrs (name: what: {
        config.system.build.toplevel = toplevel name what;
      }) systems;
    };
}
