# With Nix: systems can be activated.
{
  imports = [ ./site.nix ];
  boot.loader.systemd-boot.enable = true;
  services.compliance-agent = {
    site = "site-a";
    activation = {
      switchSec = 30;
      settleSec = 2;
      soakSec = 6;
      deadManSec = 110;
      looks = 2;
    };
    settings.executor.activation.boot_loader.bootctl = "/usr/local/bin/bootctl";
  };
}
