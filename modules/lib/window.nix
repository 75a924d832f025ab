# What is wrong with a maintenance window, as a sentence; null if nothing is. The zone's name is looked up by the
# executor, in the database that it was built with; here it only has to look like one.
{ lib }:
window:
let
  days = [
    "mon"
    "tue"
    "wed"
    "thu"
    "fri"
    "sat"
    "sun"
  ];
  strange = builtins.filter (day: !(builtins.elem day days)) window.days;
  isStart = builtins.match "([01][0-9]|2[0-3]):[0-5][0-9]" window.start != null;
  isZone = builtins.match "UTC|[A-Za-z_]+(/[A-Za-z0-9_+-]+)+" window.zone != null;
  quote = builtins.toJSON;
in
if window.days == [ ] then
  "a window without days never opens: leave `days` out for every day, or drop the window"
else if strange != [ ] then
  "${quote (builtins.head strange)} is not a day: write mon, tue, wed, thu, fri, sat or sun, in lower case"
else if lib.unique window.days != window.days then
  "a day is named twice: write each day once"
else if !isStart then
  "${quote window.start} is not a start: write HH:MM, from \"00:00\" to \"23:59\""
else if window.lengthMin < 1 || window.lengthMin > 1440 then
  "a window of ${toString window.lengthMin} min is not possible: write a `lengthMin` from 1 to 1440 (24 hours)"
else if !isZone then
  "${quote window.zone} is not a time zone: write an IANA name such as \"Europe/Paris\" or \"UTC\""
else
  null
