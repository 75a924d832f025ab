# Without Nix, and through a reseller.
{
  imports = [ ./site.nix ];
  services.compliance-agent = {
    site = "site-b";
    mode = "reseller";
    reseller = "northwind";
    activation.enable = false;
  };
}
