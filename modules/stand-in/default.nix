# A small stand-in for `lib` and `lib.evalModules` of nixpkgs and for the options of NixOS that our modules set,
# so that the modules are evaluated, and units rendered from them, where nixpkgs cannot be had.
#
# It shows that our modules do what they should, not that NixOS takes them: that is what the same tests show
# with a real nixpkgs (../README.md). It does not have mkOrder, `disabledModules`, option declarations that
# are merged but for sets of submodules, `config._module`, nor any type, or function of `lib`, that our modules do not use.
#
# evaluate { modules, pkgs }: the same as nixpkgs' `lib.evalModules` for these modules: { config, options }.
let
  lib = import ./lib.nix // import ./modules.nix { inherit lib types; } // { inherit types; };
  types = import ./types.nix { inherit lib; };
in
{
  inherit lib;

  evaluate =
    { modules, pkgs }:
    lib.evalModules {
      modules = [ ./nixos.nix ] ++ modules;
      specialArgs = { inherit pkgs; };
    };
}
