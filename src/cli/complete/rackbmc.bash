# Completion of rackbmc for bash: put it into /usr/share/bash-completion/completions/rackbmc, or `source` it.
_rackbmc() {
    local line=${COMP_LINE:0:COMP_POINT} words word found
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=("")
    word=${words[${#words[@]} - 1]}
    # What bash takes for the word begins behind the last colon or equals sign: what stands before is not written again.
    local before=$((${#word} - ${#2}))
    [[ $2 == [:=] || $before -lt 0 ]] && before=${#word}
    COMPREPLY=()
    while IFS=$'\t' read -r found _; do
        COMPREPLY+=("${found:before}")
        [[ $found == *[=/] ]] && compopt -o nospace
    done < <("$1" __complete "${words[@]}" 2>/dev/null)
}
complete -o nosort -F _rackbmc rackbmc
