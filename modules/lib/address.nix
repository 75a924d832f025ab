# Reads `https://HOST[:PORT]`: { host, port, static }, or null if it is not that. An address of version 6 is
# without its brackets; `static` says that the host is an address.
{ lib }:
url:
let
  parts = builtins.match "https://(\\[[0-9a-fA-F:.]+]|[A-Za-z0-9.-]+)(:([1-9][0-9]{0,4}))?/?" url;
  named = builtins.elemAt parts 0;
  port = builtins.elemAt parts 2;
  isSix = lib.hasPrefix "[" named;
in
if parts == null || (port != null && lib.toInt port > 65535) then
  null
else
  {
    host = if isSix then lib.removeSuffix "]" (lib.removePrefix "[" named) else named;
    port = if port == null then 443 else lib.toInt port;
    static = isSix || builtins.match "[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+" named != null;
  }
