# The package that the flake's modules come to where one of them is imported twice, on the stand-in; .ci/modules asks
# for it. Twice defined, it would be an error.
let
  standIn = import ../stand-in;
  inherit (standIn) lib;
  self =
    (import ../../flake.nix).outputs {
      inherit self;
      nixpkgs = { };
    }
    // {
      outPath = "/source";
    };
  pkgs = {
    # The stand-in looks at what is overridden, too.
    compliance-agent.outPath = "/nix/store/none";
    lib = lib // {
      fileset = {
        toSource = _: "/source";
        unions = _: null;
      };
    };
    rustPlatform.buildRustPackage = attrs: { outPath = "/nix/store/${attrs.pname}"; };
  };
in
toString
  (standIn.evaluate {
    modules = [
      self.nixosModules.default
      self.nixosModules.compliance-agent
    ];
    inherit pkgs;
  }).config.services.compliance-agent.package
