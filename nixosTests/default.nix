# The scenarios on NixOS machines, as tests of nixpkgs. `packages` are the flake's, `module` is all its modules.
# nixosTests/debian runs the same scenarios where there is no nixpkgs.
{
  pkgs,
  packages,
  module,
}:
let
  inherit (pkgs) lib;
  prelude = builtins.readFile ./prelude.py;
  scenario =
    file:
    pkgs.testers.runNixOSTest {
      name = lib.removeSuffix ".py" file;
      nodes = {
        box.imports = [
          module
          ./box.nix
          ./nixos/box.nix
        ];
        mcp = {
          imports = [
            module
            ./mcp.nix
            ./nixos/mcp.nix
          ];
          environment.systemPackages = [ packages.compliancectl ];
        };
      };
      # What a scenario names is the prelude's and the driver's, of which the checkers know only a part.
      skipLint = true;
      skipTypeCheck = true;
      testScript = prelude + builtins.readFile (./scenarios + "/${file}");
    };
  files = lib.filter (lib.hasSuffix ".py") (lib.attrNames (builtins.readDir ./scenarios));
in
lib.listToAttrs (
  map (file: lib.nameValuePair "scenario-${lib.removeSuffix ".py" file}" (scenario file)) files
)
