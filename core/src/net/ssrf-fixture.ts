/** Addresses that lead inside, written in every way that somebody has tried. `{port}` is where a canary listens. */

const INSIDE = [
  "127.0.0.1",
  "127.255.255.254",
  "10.0.0.1",
  "172.16.0.1",
  "192.168.0.1",
  "169.254.169.254",
  "100.100.100.200",
  "0.0.0.0",
];

type Octets = [number, number, number, number];

const hex = (value: number) => value.toString(16);
const octal = (value: number) => `0${value.toString(8)}`;
const pair = (a: number, b: number) => hex(a * 256 + b);
const dword = ([a, b, c, d]: Octets) => ((a * 256 + b) * 256 + c) * 256 + d;
const wide = (text: string) => text.replaceAll(/\d/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)));
const circled = (text: string) =>
  text.replaceAll(/\d/g, (digit) => (digit === "0" ? "\u24ea" : String.fromCodePoint(0x245f + Number(digit))));
const escaped = (text: string) =>
  Array.from(text, (each) => `%${(each.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`).join("");

/** An IPv4 address in all its notations, and carried in IPv6. */
function notations(address: string): string[] {
  const octets = address.split(".").map(Number) as Octets;
  const [a, b, c, d] = octets;
  const low = `${pair(a, b)}:${pair(c, d)}`;
  return [
    address,
    `${address}.`,
    String(dword(octets)),
    `0x${hex(dword(octets))}`,
    octal(dword(octets)),
    `${a}.${(b * 256 + c) * 256 + d}`,
    `${a}.${b}.${c * 256 + d}`,
    octets.map(octal).join("."),
    octets.map((each) => `0x${hex(each)}`).join("."),
    octets.map((each) => `000${octal(each)}`).join("."),
    `0x${hex(a)}.${octal(b)}.${c}.${d}`,
    wide(address),
    circled(address),
    escaped(address),
    address.replaceAll(".", "\u3002"),
    address.replaceAll(".", "\uff0e"),
    address.replace(".", "\u00ad."),
    address.replace(".", ".\u200b"),
    `[::ffff:${address}]`,
    `[::ffff:${low}]`,
    `[0:0:0:0:0:ffff:${low}]`,
    `[::${address}]`,
    `[::ffff:0:${low}]`,
    `[64:ff9b::${address}]`,
    `[64:ff9b:1::${low}]`,
    `[2002:${low}::1]`,
    `[2001:0:${low}::1]`,
  ];
}

/** Inside or of no use, written plainly. */
const NETWORKS = [
  "10.255.255.255",
  "172.31.255.255",
  "192.168.255.255",
  "100.64.0.1",
  "100.127.255.255",
  "168.63.129.16",
  "192.0.0.192",
  "192.0.2.1",
  "192.88.99.1",
  "198.18.0.1",
  "198.19.255.255",
  "198.51.100.7",
  "203.0.113.9",
  "224.0.0.1",
  "239.255.255.250",
  "240.0.0.1",
  "255.255.255.255",
  "[::]",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[fd00::1]",
  "[fd00:ec2::254]",
  "[fc00::1]",
  "[fe80::1]",
  "[febf::1]",
  "[fec0::1]",
  "[ff02::1]",
  "[100::1]",
  "[2001:db8::1]",
  "[2001:2::1]",
  "[3fff::1]",
  "[5f00::1]",
];

/** Names: the resolver of the test answers each with this machine's address. */
export const NAMES = [
  "localhost",
  "LOCALHOST",
  "localhost.",
  "a.localhost",
  "localhost.localdomain",
  "ip6-localhost",
  "127.0.0.1.nip.example",
  "metadata.google.internal",
  "instance-data",
  "kubernetes.default.svc",
  "redis",
  "rebound.example",
  "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
  "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
  "local\u200bhost",
  "local\u00adhost",
  "loc\u0430lhost",
  "b\u00fccher.example",
  "xn--bcher-kva.example",
  "shop\u3002example",
  "%6cocalhost",
];

const ODD = [
  "http://user@127.0.0.1:{port}/",
  "http://user:secret@shop.example:{port}/",
  "http://:secret@shop.example:{port}/",
  "http://shop.example@127.0.0.1:{port}/",
  "http://shop.example:80@127.0.0.1:{port}/",
  "http://shop.example%40127.0.0.1:{port}/",
  "http://127.0.0.1:{port}#@shop.example/",
  "http://127.0.0.1:{port}?@shop.example/",
  "http://127.0.0.1:{port}\\@shop.example/",
  "http:\\\\127.0.0.1:{port}/",
  "http:127.0.0.1:{port}/",
  "http:////127.0.0.1:{port}/",
  "http://127.0.0.1:{port}/\r\nHost: shop.example",
  "ht\ntp://127.0.0.1:{port}/",
  "http://127.0.\r\n0.1:{port}/",
  "http://127.0.0.1:{port}%2f@shop.example/",
  "\u0000http://127.0.0.1:{port}/",
  "  http://127.0.0.1:{port}/",
  "http://[::1%25lo]:{port}/",
  "http://[fe80::1%25eth0]:{port}/",
  "http://[v1.fe80::a]:{port}/",
  "http://127.0.0.1:0/",
  "http://127.0.0.1:65536/",
  "http://127.0.0.1:-1/",
  "http://1.1.1.1:22/",
  "http://1.1.1.1:25/",
  "http://1.1.1.1:6000/",
  "http://1.1.1.1:6667/",
  "HTTP://127.0.0.1:{port}/",
  "ftp://127.0.0.1:{port}/",
  "ws://127.0.0.1:{port}/",
  "wss://127.0.0.1:{port}/",
  "gopher://127.0.0.1:{port}/_GET",
  "dict://127.0.0.1:{port}/stat",
  "ldap://127.0.0.1:{port}/",
  "tftp://127.0.0.1:{port}/",
  "jar:http://127.0.0.1:{port}!/",
  "file:///etc/passwd",
  "data:text/plain,inside",
  "blob:http://127.0.0.1:{port}/1",
  "javascript:fetch('http://127.0.0.1:{port}')",
  "unix:/var/run/docker.sock",
  "about:blank",
];

/** Every address, with the canary's port where a port makes sense. */
export function corpus(port: number): string[] {
  const hosts = [...INSIDE.flatMap(notations), ...NETWORKS, ...NAMES];
  const all = [...hosts.map((host) => `http://${host}:{port}/`), `https://127.0.0.1:{port}/`, ...ODD];
  return [...new Set(all)].map((each) => each.replaceAll("{port}", String(port)));
}
