# What is another way on Debian than on NixOS.
{ lib, ... }:
{
  imports = [ ../box.nix ];
  boot.loader.systemd-boot.enable = true;
  services.compliance-agent.settings.executor.activation.boot_loader.bootctl = "/usr/local/bin/bootctl";
  systemd.services.compliance-executor.serviceConfig.ProtectSystem = lib.mkForce false;
}
