# What `nix flake check` looks at, with nixpkgs: the programs and their tests, and the modules on the real module
# system. `.ci/run` looks at the same, and more, without nixpkgs; it has no real NixOS to evaluate.
{
  self,
  nixpkgs,
  pkgs,
}:
let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  packages = self.packages.${system};

  # With cargo and the vendored crates, and without building the programs.
  cargo =
    name: tools: command:
    packages.compliance-agent.overrideAttrs (before: {
      pname = "compliance-${name}";
      src = self;
      nativeBuildInputs = before.nativeBuildInputs ++ tools;
      buildPhase = command;
      installPhase = "touch $out";
      postInstall = "";
    });

  # The least that NixOS wants of any machine.
  machine = {
    nixpkgs.hostPlatform = system;
    system.stateVersion = "26.05";
    boot.loader.grub.device = "/dev/sda";
    fileSystems."/" = {
      device = "/dev/sda1";
      fsType = "ext4";
    };
  };
  configured =
    module:
    (nixpkgs.lib.nixosSystem {
      modules = [
        self.nixosModules.default
        # Once more, as from another file.
        self.nixosModules.compliance-agent
        machine
        module
      ];
    }).config;
  # Evaluates everything, and builds nothing.
  evaluated =
    module: builtins.unsafeDiscardStringContext (configured module).system.build.toplevel.drvPath;

  # What is wrong in name or type is thrown, and the words of that are not to be had here.
  isThrown =
    says:
    lib.any (words: lib.hasInfix words says) [
      "does not exist"
      "has no value defined"
      "is not of type"
    ];
  fails =
    check:
    let
      holds = builtins.tryEval check.assertion;
    in
    holds.success && !holds.value;
  isRefused =
    { module, says }:
    if isThrown says then
      !(builtins.tryEval (evaluated module)).success
    else
      lib.any (check: lib.hasInfix says check.message) (lib.filter fails (configured module).assertions);
  taken = lib.attrNames (
    lib.filterAttrs (_: case: !isRefused case) (import ./modules/tests/refused.nix)
  );
in
{
  inherit (packages)
    compliance-agent
    compliance-mcp
    compliance-nats
    compliancectl
    ;

  format = cargo "format" [ pkgs.rustfmt ] "cargo fmt --all --check";
  clippy = cargo "clippy" [
    pkgs.clippy
  ] "cargo clippy --offline --workspace --all-targets -- -D warnings";
  # What the sandbox forbids, such as a user namespace, is skipped with why; a program that is missing here is an error.
  tests =
    cargo "tests"
      [
        pkgs.iproute2
        pkgs.nats-server
        pkgs.nftables
        pkgs.openssl
        pkgs.util-linux
      ]
      ''
        set -o pipefail
        cargo test --offline --workspace 2>&1 | tee "$TMPDIR/said"
        if grep 'skipped: .*: install ' "$TMPDIR/said"; then exit 1; fi
      '';

  modules =
    pkgs.runCommand "modules"
      {
        accepted = map evaluated [
          ./modules/tests/appliance.nix
          ./modules/tests/carrier.nix
          ./modules/tests/control-plane.nix
        ];
        inherit taken;
      }
      ''
        [ -z "$taken" ] || { echo "these should be refused, each with its sentence, and are not: $taken"; exit 1; }
        touch $out
      '';

  examples = pkgs.runCommand "examples" {
    systems = lib.mapAttrsToList (
      _: example: builtins.unsafeDiscardStringContext example.config.system.build.toplevel.drvPath
    ) self.nixosConfigurations;
  } "touch $out";

  options = pkgs.runCommand "options" {
    written = builtins.toFile "options.md" (import ./modules/documentation.nix);
  } "diff ${./docs/options.md} $written && touch $out";
}
// import ./nixosTests {
  inherit pkgs packages;
  module = self.nixosModules.default;
}
