# The toy flake of site-a: three generations of one system, laid out as NixOS lays them out, without nixpkgs. What
# they consist of, install puts beside this file.
{
  outputs =
    _:
    let
      systems = import ./systems {
        programs = ./programs;
        box = [
          ./rendered
          ./units
          ./units-nix
        ];
      };
    in
    {
      nixosConfigurations =
        builtins.mapAttrs (_: toplevel: { config.system.build = { inherit toplevel; }; })
          {
            first = systems.box;
            # Its units have another environment: the switch restarts the agent and the executor.
            next = systems.next;
            # A unit of it cannot start.
            sick = systems.broken;
          };
    };
}
