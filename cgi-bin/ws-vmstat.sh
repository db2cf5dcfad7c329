#!/bin/sh
# Says once a second how the machine is doing, one JSON object a line, out of /proc.
set -u
old_total=0 old_idle=0 old_switches=0 old_interrupts=0
while :; do
  total=0 idle=0 switches=0 interrupts=0 running=0 available=0 load=0
  while read -r key rest; do
    # The words of the line, as $1, $2, ...
    # shellcheck disable=SC2086
    set -- $rest
    case $key in
      cpu) idle=$(($4 + $5)) total=$(($1 + $2 + $3 + $4 + $5 + $6 + $7)) ;;
      ctxt) switches=$1 ;;
      intr) interrupts=$1 ;;
      procs_running) running=$1 ;;
    esac
  done </proc/stat
  while read -r key value _; do
    [ "$key" = MemAvailable: ] && available=$value && break
  done </proc/meminfo
  read -r load _ </proc/loadavg
  if [ "$old_total" -gt 0 ] && [ "$total" -gt "$old_total" ]; then
    busy=$((100 - 100 * (idle - old_idle) / (total - old_total)))
    printf '{"busy":%d,"load":"%s","available":%d,"running":%d,"switches":%d,"interrupts":%d}\n' \
      "$busy" "$load" "$available" "$running" "$((switches - old_switches))" "$((interrupts - old_interrupts))"
  fi
  old_total=$total old_idle=$idle old_switches=$switches old_interrupts=$interrupts
  sleep 1
done
