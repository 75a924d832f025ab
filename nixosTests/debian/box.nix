# What is another way on Debian than on NixOS.
{
  imports = [ ../box.nix ];
  boot.loader.systemd-boot.enable = true;
  services.compliance-agent.settings.executor.activation.boot_loader.bootctl =
    "/usr/local/bin/bootctl";
}
