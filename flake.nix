{
  description = "A compliance appliance: verified orders, checks, healing, signed evidence";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each =
        f:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = f nixpkgs.legacyPackages.${system};
          }) systems
        );
      packagesOf = pkgs: import ./packages.nix { inherit pkgs; };

      # A module whose `package` is the one of this flake. By its key it is one, however often it is imported.
      module = name: file: rec {
        _file = "${self.outPath}/flake.nix#nixosModules.${name}";
        key = _file;
        imports = [
          file
          (
            { lib, pkgs, ... }:
            {
              services.${name}.package = lib.mkDefault (packagesOf pkgs).${name};
            }
          )
        ];
      };

      example =
        name:
        nixpkgs.lib.nixosSystem {
          system = "x86_64-linux";
          modules = [
            self.nixosModules.default
            ./examples/${name}/configuration.nix
          ];
        };
    in
    {
      nixosModules = {
        compliance-agent = module "compliance-agent" ./modules/compliance-agent.nix;
        compliance-mcp = module "compliance-mcp" ./modules/compliance-mcp.nix;
        compliance-nats = module "compliance-nats" ./modules/compliance-nats.nix;
        default.imports = [
          self.nixosModules.compliance-agent
          self.nixosModules.compliance-mcp
          self.nixosModules.compliance-nats
        ];
      };

      overlays.default = final: _: packagesOf final;

      packages = each (
        pkgs:
        packagesOf pkgs
        // {
          default = (packagesOf pkgs).compliance-agent;
          # Of an example; of a site of yours: nixosConfigurations.<site>.config.system.build.complianceBaseline
          baseline = self.nixosConfigurations.example-direct.config.system.build.complianceBaseline;
        }
      );

      checks = each (pkgs: import ./checks.nix { inherit self nixpkgs pkgs; });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.cargo
            pkgs.clippy
            pkgs.deadnix
            pkgs.nftables
            pkgs.nixfmt
            pkgs.openssl
            pkgs.rustc
            pkgs.rustfmt
          ];
        };
      });

      formatter = each (pkgs: pkgs.nixfmt-tree);

      nixosConfigurations = {
        example-direct = example "direct";
        example-reseller = example "reseller";
        example-sops = example "sops";
      };
    };
}
