<?php
// nginx hands on what it has no file for; this site has one page.
if (!in_array(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), ['/', '/index.php'], true)) {
    http_response_code(404);
    exit("no such page\n");
}
// The first request to a replica publishes the site's assets under a name of the replica's own, as Yii does.
$assets = substr(md5(gethostname()), 0, 8);
$folder = __DIR__ . "/assets/$assets";
if (!is_dir("$folder/css")) {
    mkdir("$folder/css", 0755, true);
    copy('/usr/share/site/css/site.css', "$folder/css/site.css");
}
session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
?>
<!doctype html>
<title>Site</title>
<link rel="stylesheet" href="/assets/<?= $assets ?>/css/site.css">
<p>replica=<?= gethostname() ?> visits=<?= $_SESSION['visits'] ?></p>
