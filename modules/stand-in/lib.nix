# Those of nixpkgs' functions on lists, strings and attribute sets that our modules use.
let
  inherit (builtins)
    elemAt
    split
    stringLength
    substring
    ;
in
rec {
  inherit (builtins)
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    genList
    isAttrs
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    replaceStrings
    toJSON
    ;

  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  optionalString = condition: text: if condition then text else "";
  optionalAttrs = condition: attrs: if condition then attrs else { };

  nameValuePair = name: value: { inherit name value; };
  mapAttrsToList = f: attrs: map (name: f name attrs.${name}) (attrNames attrs);
  mapAttrs' = f: attrs: listToAttrs (mapAttrsToList f attrs);
  filterAttrs =
    keep: attrs:
    listToAttrs (
      map (name: nameValuePair name attrs.${name}) (
        filter (name: keep name attrs.${name}) (attrNames attrs)
      )
    );
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  unique = builtins.foldl' (
    seen: value: if builtins.elem value seen then seen else seen ++ [ value ]
  ) [ ];

  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    stringLength text >= stringLength suffix
    && substring (stringLength text - stringLength suffix) (-1) text == suffix;
  removePrefix =
    prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
  removeSuffix =
    suffix: text:
    if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
  hasInfix = infix: text: length (split (escapeRegex infix) text) > 1;
  escapeRegex =
    let
      special = genList (n: substring n 1 "\\[{()^$?*+|.") 12;
    in
    replaceStrings special (map (character: "\\${character}") special);
  splitString = separator: text: filter isString (split (escapeRegex separator) text);
  concatMapStringsSep =
    separator: f: values:
    concatStringsSep separator (map f values);
  concatMapAttrsStringSep =
    separator: f: attrs:
    concatStringsSep separator (mapAttrsToList f attrs);
  toInt = builtins.fromJSON;
  escapeShellArg = value: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString value)}'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  last = list: elemAt list (length list - 1);

  getExe' = package: name: "${package}/bin/${name}";
  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };
}
