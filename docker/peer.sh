#!/bin/sh
# A peer of docker-compose.yml: takes a folder of the shared volume for itself, then becomes the node.
#
# Replicas of a service are alike, and which of them is started again, or removed by a smaller --scale, is the engine's choice. So the identity
# belongs to a folder, and a container takes the first one that no other has. The lock is the kernel's: it ends with the process, however
# that ends, and never lies around. Further words are further options of "starling start".
set -eu

FOLDERS=/data
MAX_PEERS=999
TOKEN=/run/starling/token

number=1
while :; do
  exec 9>"$FOLDERS/peer-$number.lock"
  if flock --nonblock 9; then break; fi
  number=$((number + 1))
  if [ "$number" -gt "$MAX_PEERS" ]; then
    echo "peer: all $MAX_PEERS folders of $FOLDERS are taken" >&2
    exit 1
  fi
done
mkdir -p "$FOLDERS/peer-$number"
# A run has its own folder below this one, .starling/<name>-<id>: another run.yaml does not meet the state of the one before.
cd "$FOLDERS/peer-$number"

# The token of the API is made once, by whichever peer is first: a hard link is there whole or not at all.
if [ ! -s "$TOKEN" ]; then
  node -p 'crypto.randomBytes(24).toString("base64url")' >"$TOKEN.peer-$number"
  ln "$TOKEN.peer-$number" "$TOKEN" 2>/dev/null || [ -s "$TOKEN" ]
  rm "$TOKEN.peer-$number"
fi

# In the environment, which only root and the same user can read; a command line is everybody's.
STARLING_API_TOKEN=$(cat "$TOKEN")
export STARLING_API_TOKEN
exec starling start /etc/starling/run.yaml \
  --name "peer-$number" \
  --listen /ip4/0.0.0.0/tcp/7400 \
  --bootstrap "/dns4/bootstrap/tcp/7400" \
  --api-host 0.0.0.0 --port 7401 \
  --stay \
  "$@"
