# Evaluates modules: declarations are put together, definitions merged, and what is not declared is refused.
{ lib, types }:
let
  inherit (builtins)
    attrNames
    concatMap
    elem
    filter
    foldl'
    isAttrs
    isFunction
    isPath
    head
    map
    ;

  # As nixpkgs: the lower, the stronger.
  priority = {
    force = 50;
    none = 100;
    default = 1000;
    option = 1500;
  };

  mkOverride = level: content: {
    _type = "override";
    priority = level;
    inherit content;
  };

  isA = kind: value: isAttrs value && value._type or null == kind;
  show = path: lib.concatStringsSep "." path;
  inFiles = defs: lib.concatMapStringsSep "" (def: "\n  in ${toString def.file}") defs;

  # What a definition says once its mkIf, mkMerge and mkOverride are taken off: { file, value, level } each.
  discharge =
    def:
    let
      again = value: discharge (def // { inherit value; });
      value = def.value;
    in
    if isA "merge" value then
      concatMap again value.contents
    else if isA "if" value then
      lib.optionals value.condition (again value.content)
    else if isA "override" value then
      map (inner: inner // { level = value.priority; }) (again value.content)
    else
      [ ({ level = priority.none; } // def) ];

  # The value of one option, or of one element, from its definitions.
  mergeDefinitions =
    path: type: definitions:
    let
      all = concatMap discharge definitions;
      strongest =
        foldl' (least: def: if def.level < least then def.level else least) (head all).level
          all;
      chosen = filter (def: def.level == strongest) all;
      wrong = filter (def: !type.check def.value) chosen;
    in
    if all == [ ] then
      throw "The option `${show path}' was accessed but has no value defined. Try setting the option."
    else if wrong != [ ] then
      throw "A definition for option `${show path}' is not of type `${type.description}'. Definition values:${inFiles wrong}"
    else
      type.merge path chosen;

  # A module in any of its forms as { key, file, options, config, imports }.
  load =
    arguments: origin: module:
    let
      isFile = isPath module || builtins.isString module;
      file = if isFile then toString module else origin;
      opened = if isFile then import module else module;
      plain = if isFunction opened then opened arguments else opened;
      structured = plain ? options || plain ? config;
      body = removeAttrs plain [
        "imports"
        "_file"
        "key"
        "meta"
      ];
    in
    {
      key = if isFile then file else plain.key or null;
      file = plain._file or file;
      imports = plain.imports or [ ];
      options = plain.options or { };
      config = if structured then plain.config or { } else body;
    };

  # All modules, what they import first; each file and each key once.
  collect =
    arguments: origin: modules:
    let
      add =
        known: module:
        let
          loaded = load arguments origin module;
          seen = loaded.key != null && elem loaded.key (map (other: other.key) known);
        in
        if seen then known else foldl' add known loaded.imports ++ [ loaded ];
    in
    foldl' add [ ] modules;

  isOption = isA "option";

  mergeDeclarations =
    path: left: right:
    left
    // lib.mapAttrs (
      name: new:
      let
        here = path ++ [ name ];
      in
      if !(left ? ${name}) then
        new
      else if isOption new && isOption left.${name} && left.${name}.type ? also then
        left.${name} // new // { type = left.${name}.type.also new.type; }
      else if isOption new || isOption left.${name} then
        throw "The option `${show here}' is declared twice."
      else
        mergeDeclarations here left.${name} new
    ) right;

  # A set of definitions with mkIf and mkMerge moved from the set to what is in it, so that which names it has
  # does not depend on what the configuration says.
  pushDown =
    def:
    let
      again = value: pushDown (def // { inherit value; });
      inherit (def) value;
    in
    if isA "merge" value then
      concatMap again value.contents
    else if isA "if" value || isA "override" value then
      map (
        inner: inner // { value = lib.mapAttrs (_: content: value // { inherit content; }) inner.value; }
      ) (again value.content)
    else
      [ def ];

  # The definitions of `name` in those of the set that it is in.
  below =
    name: definitions:
    concatMap (
      def:
      lib.optional (def.value ? ${name}) {
        inherit (def) file;
        value = def.value.${name};
      }
    ) (concatMap pushDown definitions);

  evalOption =
    path: option: definitions:
    let
      fallback = lib.optional (option ? default) {
        file = "its default";
        value = mkOverride priority.option option.default;
      };
    in
    (option.apply or (value: value)) (mergeDefinitions path option.type (definitions ++ fallback));

  evalTree =
    path: declared: definitions:
    lib.mapAttrs (
      name: option:
      let
        here = path ++ [ name ];
        defs = below name definitions;
      in
      if isOption option then evalOption here option defs else evalTree here option defs
    ) declared;

  # Paths that are defined and not declared, each with where.
  undeclared =
    path: declared: definitions:
    let
      names = lib.unique (concatMap (def: attrNames def.value) (concatMap pushDown definitions));
    in
    concatMap (
      name:
      let
        here = path ++ [ name ];
        defs = below name definitions;
      in
      if !(declared ? ${name}) then
        [
          {
            path = here;
            inherit defs;
          }
        ]
      else if isOption declared.${name} then
        [ ]
      else
        undeclared here declared.${name} defs
    ) names;

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
      origin ? "a module",
    }:
    let
      arguments = {
        inherit lib config;
        options = declared;
      }
      // specialArgs;
      all = collect arguments origin modules;
      declared = foldl' (mergeDeclarations prefix) { } (map (module: module.options) all);
      definitions = map (module: {
        inherit (module) file;
        value = module.config;
      }) all;
      config = evalTree prefix declared definitions;
      unknown = undeclared prefix declared definitions;
      first = head unknown;
      # What the modules themselves read is not checked, or nothing would end.
      checked =
        if unknown == [ ] then
          config
        else
          throw "The option `${show first.path}' does not exist. Definition values:${inFiles first.defs}";
    in
    {
      config = checked;
      options = declared;
    };
in
{
  inherit evalModules mergeDefinitions mkOverride;

  isDefined = definitions: concatMap discharge definitions != [ ];

  mkOption = attrs: attrs // { _type = "option"; };
  mkEnableOption =
    what:
    lib.mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${what}.";
    };
  mkPackageOption =
    pkgs: name:
    {
      default ? name,
      ...
    }:
    lib.mkOption {
      type = types.package;
      default = pkgs.${default};
      defaultText = lib.literalExpression "pkgs.${default}";
      description = "The ${name} package to use.";
    };
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkDefault = mkOverride priority.default;
  mkForce = mkOverride priority.force;
}
