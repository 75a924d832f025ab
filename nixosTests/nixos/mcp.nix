# What only NixOS's test machine of the control plane has.
{ pkgs, ... }:
{
  networking.firewall.enable = false;
  environment.systemPackages = [
    pkgs.dnsmasq
    pkgs.netcat-openbsd
    pkgs.openssl
    pkgs.sqlite
  ];
}
