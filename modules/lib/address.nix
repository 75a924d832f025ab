# Reads `https://HOST[:PORT]`: { host, port, static }, or null if it is not that. An address of version 6 is
# without its brackets; `static` says that the host is an address.
{ lib }:
url:
let
  ip = import ./ip.nix { inherit lib; };
  parts = builtins.match "https://(\\[[0-9a-fA-F:.]+]|[A-Za-z0-9.-]+)(:([1-9][0-9]{0,4}))?/?" url;
  named = builtins.elemAt parts 0;
  port = builtins.elemAt parts 2;
  inBrackets = lib.hasPrefix "[" named;
  host = if inBrackets then lib.removeSuffix "]" (lib.removePrefix "[" named) else named;
  isHost =
    if inBrackets then ip.isSix host else ip.isFour host || builtins.match "[0-9.]*" host == null;
in
if parts == null || !isHost || (port != null && lib.toInt port > 65535) then
  null
else
  {
    inherit host;
    port = if port == null then 443 else lib.toInt port;
    static = inBrackets || ip.isFour host;
  }
