// The completion scripts for bash and zsh. The part that decides what fits is one function for both shells; what differs is how a shell
// hands over the line and takes the answer.
// Guarantees: pure; the scripts start nothing but `millrace completion names`, and that only where a name of the daemon is asked for.
// Thread: main.
import type { CompletionNode, CompletionOption, WordKind } from './tree.js';

/** Options that say where the daemon is: names are asked for there. */
const CONNECTION = ['--socket', '--url', '--token-file', '--ca'];

/**
 * Sets _millrace_reply to the candidates for the last of its arguments, which are the words of the line without "millrace", and
 * _millrace_files to 1 where files fit. Written in what bash 3.2 and zsh (with ksh_arrays and sh_word_split) have in common.
 */
function common(nodes: readonly CompletionNode[]): string {
  return `_millrace_candidates() {
  local word path="" index=0 value="" current connection="" service="" rest=0
  _millrace_reply=""
  _millrace_files=0
  while [ $# -gt 1 ]; do
    word="$1"
    shift
    if [ -n "$value" ]; then
      case " ${CONNECTION.join(' ')} " in *" $value "*) connection="$connection $value $word" ;; esac
      value=""
      continue
    fi
    if [ $rest = 0 ]; then
      case "$word" in
        --) rest=1; continue ;;
        ${CONNECTION.map((option) => `${option}=*`).join(' | ')}) connection="$connection $word"; continue ;;
        -*) _millrace_takes_value "$path" "$word" && value="$word"; continue ;;
      esac
    fi
    if [ $index = 0 ] && _millrace_is_command "$path" "$word"; then
      path="\${path:+$path }$word"
      continue
    fi
    index=$((index + 1))
    [ $index = 1 ] && service="$word"
  done
  current="$1"
  if [ -n "$value" ]; then
    _millrace_value "$path" "$value"
  elif [ $rest = 0 ]; then
    case "$current" in
      --*=*)
        _millrace_value "$path" "\${current%%=*}"
        current="\${current#*=}"
        ;;
      -*) _millrace_options "$path" ;;
      *) _millrace_words "$path" "$index" ;;
    esac
  else
    _millrace_words "$path" "$index"
  fi
  case "$_millrace_reply" in
    @service) _millrace_reply="$(millrace completion names $connection services 2>/dev/null)" ;;
    @server) _millrace_reply="$(millrace completion names $connection servers "$service" 2>/dev/null)" ;;
  esac
  _millrace_current="$current"
}

_millrace_is_command() {
  case "$1:$2" in
${cases(
  nodes.flatMap(({ path, commands }) => commands.map(({ name }) => `${path.join(' ')}:${name}`)),
  'return 0',
)}
  esac
  return 1
}

_millrace_takes_value() {
  case "$1:$2" in
${cases(
  nodes.flatMap(({ path, options }) =>
    options
      .filter(({ value, optionalValue }) => value !== undefined && !optionalValue)
      .flatMap(({ flags }) => flags.map((flag) => `${path.join(' ')}:${flag}`)),
  ),
  'return 0',
)}
  esac
  return 1
}

_millrace_options() {
  case "$1" in
${nodes.map(({ path, options }) => `    ${quote(path.join(' '))}) _millrace_reply=${quote(options.flatMap(({ flags }) => flags).join(' '))} ;;`).join('\n')}
  esac
}

_millrace_value() {
  case "$1:$2" in
${nodes.flatMap(({ path, options }) => options.flatMap((option) => valueCase(path.join(' '), option))).join('\n')}
  esac
}

_millrace_words() {
  case "$1:$2" in
${nodes.flatMap(wordCases).join('\n')}
  esac
}
`;
}

export function bashScript(nodes: readonly CompletionNode[]): string {
  return `# Completion of millrace for bash, made by \`millrace completion bash\`.
# Install: millrace completion bash > /usr/share/bash-completion/completions/millrace

${common(nodes)}
_millrace() {
  local line="\${COMP_LINE:0:$COMP_POINT}" words prefix
  # The line itself: bash has cut its own words at colons, which addresses are full of.
  read -r -a words <<< "$line"
  case "$line" in *[[:space:]]) words+=("") ;; esac
  _millrace_candidates "\${words[@]:1}"
  COMPREPLY=()
  local IFS=$' \\t\\n'
  COMPREPLY=($(compgen -W "$_millrace_reply" -- "$_millrace_current"))
  if [ "$_millrace_files" = 1 ]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$_millrace_current"))
  fi
  # bash replaces only what stands behind the last colon.
  if [[ "$_millrace_current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
    prefix="\${_millrace_current%"\${_millrace_current##*:}"}"
    COMPREPLY=("\${COMPREPLY[@]#"$prefix"}")
  fi
}

complete -F _millrace millrace
`;
}

export function zshScript(nodes: readonly CompletionNode[]): string {
  return `#compdef millrace
# Completion of millrace for zsh, made by \`millrace completion zsh\`.
# Install: millrace completion zsh > /usr/share/zsh/vendor-completions/_millrace

${common(nodes)}
_millrace() {
  emulate -L zsh
  local -a before
  before=("\${(@)words[2,CURRENT]}")
  setopt local_options ksh_arrays sh_word_split no_nomatch
  _millrace_candidates "\${before[@]}"
  unsetopt ksh_arrays
  case "$PREFIX" in --*=*) compset -P '*=' ;; esac
  compadd -- \${=_millrace_reply}
  if [ "$_millrace_files" = 1 ]; then _files; fi
}

if [ "$funcstack[1]" = "_millrace" ]; then
  _millrace "$@"
else
  compdef _millrace millrace
fi
`;
}

function cases(patterns: readonly string[], action: string): string {
  return patterns.map((pattern) => `    ${quote(pattern)}) ${action} ;;`).join('\n');
}

function valueCase(path: string, { flags, value }: CompletionOption): string[] {
  if (value === undefined || value === 'none') return [];
  return flags.map((flag) => `    ${quote(`${path}:${flag}`)}) ${assign(value)} ;;`);
}

function wordCases({ path, commands, words, variadic }: CompletionNode): string[] {
  const name = path.join(' ');
  const lines: string[] = [];
  if (commands.length > 0) lines.push(`    ${quote(`${name}:0`)}) ${assign(commands.map((command) => command.name))} ;;`);
  words.forEach((kind, index) => {
    if (kind !== 'none' && (index > 0 || commands.length === 0)) {
      const pattern = variadic && index === words.length - 1 ? `${quote(`${name}:`)}*` : quote(`${name}:${index}`);
      lines.push(`    ${pattern}) ${assign(kind)} ;;`);
    }
  });
  return lines;
}

function assign(kind: WordKind): string {
  if (kind === 'file') return '_millrace_files=1';
  if (kind === 'service' || kind === 'server') return `_millrace_reply=@${kind}`;
  return `_millrace_reply=${quote(kind === 'none' ? '' : kind.join(' '))}`;
}

/** In single quotes, as any shell takes it. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
