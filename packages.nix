# The programs, from Cargo.lock, and the scripts that belong to the appliance.
{ pkgs }:
let
  inherit (pkgs) lib;
  fileset = lib.fileset;
  manifest = builtins.fromTOML (builtins.readFile ./Cargo.toml);

  source = fileset.toSource {
    root = ./.;
    fileset = fileset.unions (
      [
        ./Cargo.lock
        ./Cargo.toml
      ]
      ++ map (member: ./. + "/${member}") manifest.workspace.members
    );
  };

  program =
    {
      pname,
      crates,
      description,
      postInstall ? "",
    }:
    pkgs.rustPlatform.buildRustPackage {
      inherit pname postInstall;
      inherit (manifest.workspace.package) version;
      src = source;
      cargoLock.lockFile = ./Cargo.lock;
      cargoBuildFlags = lib.concatMap (crate: [
        "--package"
        crate
      ]) crates;
      # As in .cargo/config.toml: docs/adr/0009-entropy-from-the-kernel.md
      env.AWS_LC_SYS_NO_JITTER_ENTROPY = "1";
      # `checks.tests` runs those of the whole workspace, once.
      doCheck = false;
      meta = {
        inherit description;
        license = lib.licenses.asl20;
        mainProgram = lib.head crates;
        platforms = lib.platforms.linux;
      };
    };
in
{
  compliance-agent = program {
    pname = "compliance-agent";
    crates = [
      "compliance-agent"
      "compliance-executor"
    ];
    description = "The compliance appliance: the agent and the executor";
    postInstall = ''
      install -Dm755 ${./modules/egress.sh} $out/libexec/compliance/egress.sh
      install -Dm755 -t $out/libexec/compliance ${./backup-status}/*.sh
    '';
  };

  compliance-mcp = program {
    pname = "compliance-mcp";
    crates = [ "compliance-mcp" ];
    description = "The control plane of compliance appliances";
  };

  compliance-nats = program {
    pname = "compliance-nats";
    crates = [ "compliance-nats" ];
    description = "Carries the control plane's events to NATS JetStream";
  };

  compliancectl = program {
    pname = "compliancectl";
    crates = [ "compliancectl" ];
    description = "Keys, sites, orders, baselines and verification for operators and auditors";
  };
}
