// The site's data: GET /adverts as JSON. nginx in the same Pod serves the pages of web/ and asks here on 127.0.0.1.
const http = require("http");
const { Pool } = require("pg");

const pool = new Pool({
  host: process.env.DATABASE_HOST || "database", port: 27017, user: "postgres", database: "postgres",
  connectionTimeoutMillis: 2000,
});
pool.on("error", (error) => console.log(`the database went away: ${error.message}`));

const server = http.createServer(async (request, response) => {
  const answer = (status, body) => {
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
    console.log(`${request.method} ${request.url} ${status}`);
  };
  if (request.url !== "/adverts") return answer(404, { error: "no such page" });
  try {
    const found = await pool.query("SELECT id, type, price, text, posted FROM adverts ORDER BY posted DESC, id");
    answer(200, found.rows);
  } catch (error) {
    answer(503, { error: error.message });
  }
});
server.listen(3000, "127.0.0.1", () => console.log("serving"));
process.on("SIGTERM", () => process.exit(0));
