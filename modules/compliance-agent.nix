# The compliance appliance for NixOS: docs/options.md.
{
  imports = [
    ./agent/options.nix
    ./agent/assertions.nix
    ./agent/renewal.nix
    ./agent/units.nix
    ./backups.nix
    ./baseline.nix
    ./egress.nix
  ];
}
