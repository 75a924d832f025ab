# Systems as NixOS lays them out, as far as an activation can tell, without nixpkgs: programs and folders of units as
# given, and a few lines of shell as switch-to-configuration. The other systems are the box's with one difference
# each; ../../nixos/box.nix makes the same of NixOS.
{
  programs,
  box,
  mcp ? [ ],
}:
let
  system =
    name:
    {
      role ? "box",
      kind ? "good",
      kernel ? "6.12.1",
    }:
    derivation {
      name = "nixos-system-${name}";
      system = builtins.currentSystem;
      builder = "/bin/bash";
      args = [ ./build.sh ];
      title = name;
      inherit programs;
      units = { inherit box mcp; }.${role};
      switch = ./switch-to-configuration.sh;
      inherit kind role;
      # A file of its own, as the kernel is on NixOS: systems that share it have the same link.
      kernel = builtins.toFile "linux-${kernel}" kernel;
    };
in
builtins.mapAttrs system {
  mcp.role = "mcp";
  box = { };
  # Nothing but the units' environment is another, so the switch restarts the agent and the executor.
  next = { };
  # The switch takes some seconds.
  slow1.kind = "slow";
  slow2.kind = "slow";
  slow3.kind = "slow";
  slow4.kind = "slow";
  # The activation script fails.
  refuses.kind = "refuses";
  # A unit of it cannot start.
  broken.kind = "broken";
  # It has another kernel, and so has to be booted.
  kernel.kernel = "6.18.1";
  # The same, and a unit of it cannot start.
  sick-kernel = {
    kind = "broken";
    kernel = "6.18.2";
  };
  # Another one.
  cut-kernel.kernel = "6.18.3";
  # It takes the machine off the network.
  offline.kind = "offline";
  # The same, and its executor does not start.
  dead.kind = "dead";
}
