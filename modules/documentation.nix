# docs/options.md, from the declarations of the options: README.md says how to call it.
let
  standIn = import ./stand-in;
  inherit (standIn) lib;

  named = name: {
    inherit name;
    outPath = "/${name}";
  };
  inherit
    (standIn.evaluate {
      modules = [
        ./compliance-agent.nix
        ./compliance-mcp.nix
        ./compliance-nats.nix
      ];
      pkgs = {
        compliance-agent = named "compliance-agent";
        compliance-mcp = named "compliance-mcp";
        compliance-nats = named "compliance-nats";
        nftables = named "nftables";
        formats.toml = _: {
          type = lib.types.anything // {
            description = "TOML value";
          };
        };
      };
    })
    options
    ;

  isOption = value: value._type or null == "option";

  # As one writes it in Nix.
  show =
    indent: value:
    let
      deeper = "${indent}  ";
    in
    if value._type or null == "literalExpression" then
      value.text
    else if lib.isList value then
      if value == [ ] then "[ ]" else "[ ${lib.concatMapStringsSep " " (show indent) value} ]"
    else if lib.isAttrs value then
      if value == { } then
        "{ }"
      else
        "{\n${
          lib.concatMapAttrsStringSep "\n" (name: inner: "${deeper}${name} = ${show deeper inner};") value
        }\n${indent}}"
    else if value == null then
      "null"
    else
      lib.toJSON value;

  # Short ones in the line, long ones below.
  said =
    word: value:
    let
      text = show "" value;
    in
    if lib.hasInfix "\n" text then "${word}:\n\n```nix\n${text}\n```\n" else "${word}: `${text}`\n";

  # {option}`x` is for NixOS's own manual.
  plain = lib.replaceStrings [ "{option}`" ] [ "`" ];

  entry =
    path: option:
    lib.concatStringsSep "\n" (
      [
        "### `${lib.concatStringsSep "." path}`\n"
        "${plain (lib.removeSuffix "\n" option.description)}\n"
        "Type: ${option.type.description}\n"
      ]
      ++ lib.optional (option ? default) (said "Default" (option.defaultText or option.default))
      ++ lib.optional (option ? example) (said "Example" option.example)
    );

  entries =
    path: tree:
    lib.concatLists (
      lib.mapAttrsToList (
        name: option:
        let
          here = path ++ [ name ];
          inner = option.type.getSubOptions or null;
        in
        if !isOption option then
          entries here option
        else
          [ (entry here option) ]
          ++ lib.optionals (inner != null) (entries (here ++ [ option.type.placeholder ]) inner)
      ) tree
    );

  chapter = name: ''
    ## `services.${name}`

    ${lib.concatStringsSep "\n" (entries [ "services" name ] options.services.${name})}'';
in
''
  # Options

  Written by `.ci/modules --write-options` from the modules' declarations; edit those.

  ${chapter "compliance-agent"}
  ${chapter "compliance-mcp"}
  ${chapter "compliance-nats"}''
