# Types of options: { description, check, merge }.
{ lib }:
let
  inherit (builtins)
    all
    concatMap
    head
    isAttrs
    isInt
    isList
    isString
    length
    map
    ;

  show = lib.concatStringsSep ".";
  values = map (def: def.value);

  type =
    {
      description,
      check,
      merge ? mergeEqual,
      ...
    }@attrs:
    attrs // { inherit description check merge; };

  mergeEqual =
    path: defs:
    let
      first = (head defs).value;
    in
    if all (value: value == first) (values defs) then
      first
    else
      throw "The option `${show path}' has conflicting definition values. Use `lib.mkForce value' to choose one.";

  # What is only defined under a condition that does not hold is not there.
  mergeAttrs =
    element: path: defs:
    let
      of =
        name:
        concatMap (
          def:
          lib.optional (def.value ? ${name}) {
            inherit (def) file;
            value = def.value.${name};
          }
        ) defs;
      names = lib.unique (concatMap (def: lib.attrNames def.value) defs);
    in
    lib.genAttrs (builtins.filter (name: lib.isDefined (of name)) names) (
      name: lib.mergeDefinitions (path ++ [ name ]) element (of name)
    );

  between =
    least: most:
    type {
      description = "integer between ${toString least} and ${toString most} (both inclusive)";
      check = value: isInt value && value >= least && value <= most;
    };

  isPathLike = value: builtins.isPath value || isString value || value ? outPath;
in
rec {
  bool = type {
    description = "boolean";
    check = builtins.isBool;
  };
  int = type {
    description = "signed integer";
    check = isInt;
  };
  ints = {
    inherit between;
    positive = type {
      description = "positive integer, meaning >0";
      check = value: isInt value && value > 0;
    };
    unsigned = type {
      description = "unsigned integer, meaning >=0";
      check = value: isInt value && value >= 0;
    };
  };
  str = type {
    description = "string";
    check = isString;
  };
  lines = type {
    description = "strings concatenated with \"\\n\"";
    check = isString;
    merge = _: defs: lib.concatStringsSep "\n" (values defs);
  };
  path = type {
    description = "absolute path";
    check = value: isPathLike value && lib.hasPrefix "/" (toString value);
  };
  package = type {
    description = "package";
    check = value: isAttrs value && value ? outPath;
    merge =
      path: defs:
      if length defs == 1 then
        (head defs).value
      else
        throw "The option `${show path}' is defined multiple times while it's expected to be unique.";
  };
  enum =
    allowed:
    type {
      description = "one of ${lib.concatMapStringsSep ", " lib.toJSON allowed}";
      check = value: lib.elem value allowed;
    };
  # Attribute sets are merged and lists put one after the other, as deep as they go.
  anything = type {
    description = "anything";
    check = _: true;
    merge =
      path: defs:
      if all (def: isAttrs def.value && !(def.value ? outPath)) defs then
        mergeAttrs anything path defs
      else if all (def: isList def.value) defs then
        concatMap (def: def.value) defs
      else
        mergeEqual path defs;
  };

  nullOr =
    element:
    type {
      description = "null or ${element.description}";
      check = value: value == null || element.check value;
      merge = path: defs: if all (def: def.value == null) defs then null else element.merge path defs;
      getSubOptions = element.getSubOptions or null;
    };
  listOf =
    element:
    type {
      description = "list of ${element.description}";
      check = isList;
      merge =
        path: defs:
        concatMap (
          def:
          lib.genList (
            n:
            lib.mergeDefinitions (path ++ [ "[${toString n}]" ]) element [
              {
                inherit (def) file;
                value = builtins.elemAt def.value n;
              }
            ]
          ) (builtins.length def.value)
        ) defs;
      getSubOptions = element.getSubOptions or null;
      placeholder = "*";
    };
  attrsOf =
    element:
    type {
      description = "attribute set of ${element.description}";
      check = isAttrs;
      merge = mergeAttrs element;
      # Declared once more.
      also = other: attrsOf (element.also other.element);
      inherit element;
      getSubOptions = element.getSubOptions or null;
      placeholder = "<name>";
    };

  submodule = module: submodules [ module ];
  submodules =
    modules:
    type {
      description = "submodule";
      check = isAttrs;
      merge =
        path: defs:
        (lib.evalModules {
          modules =
            modules
            ++ map (def: {
              _file = def.file;
              config = def.value;
            }) defs;
          prefix = path;
          specialArgs.name = lib.last path;
        }).config;
      also = other: submodules (modules ++ other.modules);
      inherit modules;
      getSubOptions =
        (lib.evalModules {
          inherit modules;
          specialArgs.name = "<name>";
        }).options;
    };
}
