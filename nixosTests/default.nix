# The scenarios on NixOS machines: `pkgs` is nixpkgs, `modules` what they import beside their own, `programs` the
# packages. nixosTests/debian runs the same scenarios where there is no nixpkgs.
{ pkgs, modules }:
let
  inherit (pkgs) lib;
  prelude = builtins.readFile ./prelude.py;
  scenario =
    file:
    pkgs.testers.runNixOSTest {
      name = lib.removeSuffix ".py" file;
      nodes = {
        box.imports = modules ++ [
          ./box.nix
          ./nixos/box.nix
        ];
        mcp.imports = modules ++ [
          ./mcp.nix
          ./nixos/mcp.nix
        ];
      };
      # What a scenario names comes from the prelude and from the driver, which the checkers know in part only.
      skipLint = true;
      skipTypeCheck = true;
      testScript = prelude + builtins.readFile (./scenarios + "/${file}");
    };
in
lib.mapAttrs' (file: _: lib.nameValuePair (lib.removeSuffix ".py" file) (scenario file)) (
  lib.filterAttrs (file: _: lib.hasSuffix ".py" file) (builtins.readDir ./scenarios)
)
