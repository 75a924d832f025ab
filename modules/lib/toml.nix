# A configuration as TOML: keys with simple values first, then a table for each set. What is null is left out.
# A pure function, so that what is tested without nixpkgs is, byte for byte, what NixOS writes.
{ lib }:
let
  inherit (builtins)
    isAttrs
    isList
    match
    toJSON
    ;

  said = lib.filterAttrs (_: value: value != null);
  key = name: if match "[A-Za-z0-9_-]+" name != null then name else toJSON name;

  # A string of JSON is one of TOML; so are integers and booleans.
  inline =
    value:
    if isAttrs value then
      "{ ${lib.concatStringsSep ", " (lib.mapAttrsToList pair (said value))} }"
    else if isList value then
      "[ ${lib.concatStringsSep ", " (map inline value)} ]"
    else
      toJSON value;
  pair = name: value: "${key name} = ${inline value}";

  table = path: value: lib.concatStringsSep "\n" (lines path (said value));
  lines =
    path: value:
    lib.mapAttrsToList pair (lib.filterAttrs (_: v: !isAttrs v) value)
    ++ lib.concatLists (
      lib.mapAttrsToList (
        name: inner:
        let
          here = path ++ [ (key name) ];
        in
        [
          ""
          "[${lib.concatStringsSep "." here}]"
        ]
        ++ lines here (said inner)
      ) (lib.filterAttrs (_: isAttrs) value)
    );
in
value: table [ ] value + "\n"
